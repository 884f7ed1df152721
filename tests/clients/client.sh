#!/bin/sh
# sh client.sh BASE_URL API_KEY
set -eu
base="$1/v2"
key="$2"
none='00000000000000000000000000000000'

# call NAME KEY METHOD PATH [curl's options]: the body, then the status on a line of its own
call() {
    name="$1" with="$2" method="$3" path="$4"
    shift 4
    curl -s -X "$method" -H "X-Primotexto-ApiKey: $with" -w '\n%{http_code}' "$@" "$base$path" >answer.$$
    printf '{"call":"%s","http":%s,"answer":%s}\n' "$name" "$(tail -n 1 answer.$$)" "$(sed '$d' answer.$$ | grep . || echo null)"
}

post() {
    name="$1" path="$2" body="$3"
    call "$name" "$key" POST "$path" -H 'Content-Type: application/json' -d "$body"
}

trap 'rm -f answer.$$' EXIT
post notification /notification/messages/send '{"number":"0600000000","message":"Bonjour Zoé €","category":"sh"}' >sent.$$
cat sent.$$
id=$(sed 's/.*"snapshotId":"\([0-9]*\)".*/\1/' sent.$$)
rm sent.$$
post marketing /marketing/messages/send '{"number":"+33600000008","message":"Soldes","sender":"Shop"}'
tries=0
until call 'by id' "$key" GET "/messages/status?snapshotId=$id" | grep '"delivered"'; do
    tries=$((tries + 1))
    [ "$tries" -lt 300 ]
    sleep 0.1
done
call 'by number' "$key" GET /messages/status -G --data-urlencode 'identifier=+33600000000'
call 'wrong key' "$none" GET /account/stats
post 'bad number' /notification/messages/send '{"number":"06","message":"Bonjour"}'
post 'no message' /notification/messages/send '{"number":"0600000000"}'
call 'unknown id' "$key" GET /messages/status?snapshotId=999999999
post unsubscribe /unsubscribers/default/contacts '{"identifier":"0600000010"}'
post refused /marketing/messages/send '{"number":"0600000010","message":"Soldes"}'
call 'back again' "$key" DELETE '/unsubscribers/default/contacts?identifier=%2B33600000010'
