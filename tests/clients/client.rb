# ruby client.rb BASE_URL API_KEY
require "json"
require "net/http"

BASE, KEY = ARGV

def ask(method, path, body = nil, key = KEY)
  address = URI("#{BASE}/v2#{path}")
  request = Net::HTTP.const_get(method).new(address, "X-Primotexto-ApiKey" => key, "Content-Type" => "application/json")
  request.body = JSON.generate(body) if body
  Net::HTTP.start(address.host, address.port) { |http| http.request(request) }
end

def call(name, ...)
  response = ask(...)
  answer = response.body.to_s.empty? ? nil : JSON.parse(response.body)
  puts JSON.generate("call" => name, "http" => response.code.to_i, "answer" => answer)
  answer
end

sent = call("notification", :Post, "/notification/messages/send",
            { number: "0600000000", message: "Bonjour Zoé €", category: "ruby" })
call("marketing", :Post, "/marketing/messages/send", { number: "+33600000008", message: "Soldes", sender: "Shop" })
path = "/messages/status?#{URI.encode_www_form(snapshotId: sent["snapshotId"])}"
300.times do
  break if JSON.parse(ask(:Get, path).body).key?("delivered")

  sleep 0.1
end
call("by id", :Get, path)
call("by number", :Get, "/messages/status?#{URI.encode_www_form(identifier: "+33600000000")}")
call("wrong key", :Get, "/account/stats", nil, "0" * 32)
call("bad number", :Post, "/notification/messages/send", { number: "06", message: "Bonjour" })
call("no message", :Post, "/notification/messages/send", { number: "0600000000" })
call("unknown id", :Get, "/messages/status?snapshotId=999999999")
call("unsubscribe", :Post, "/unsubscribers/default/contacts", { identifier: "0600000010" })
call("refused", :Post, "/marketing/messages/send", { number: "0600000010", message: "Soldes" })
call("back again", :Delete, "/unsubscribers/default/contacts?#{URI.encode_www_form(identifier: "+33600000010")}")
