// java Client.java BASE_URL API_KEY
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.util.regex.Pattern;

public class Client {
    static final HttpClient HTTP = HttpClient.newHttpClient(); // offers an upgrade to HTTP/2 in each request
    static String base, key;

    public static void main(String[] arguments) throws Exception {
        base = arguments[0] + "/v2";
        key = arguments[1];
        String sent = post("notification", "/notification/messages/send",
            "{\"number\":\"0600000000\",\"message\":\"Bonjour Zo\u00e9 \u20ac\",\"category\":\"java\"}");
        var found = Pattern.compile("\"snapshotId\":\"([0-9]+)\"").matcher(sent);
        found.find();
        String byId = "/messages/status?snapshotId=" + found.group(1);
        post("marketing", "/marketing/messages/send",
            "{\"number\":\"+33600000008\",\"message\":\"Soldes\",\"sender\":\"Shop\"}");
        for (int tries = 0; tries < 300 && !ask("GET", byId, null, key).body().contains("\"delivered\""); tries++) {
            Thread.sleep(100);
        }
        call("by id", "GET", byId, null, key);
        call("by number", "GET", "/messages/status?identifier=" + encode("+33600000000"), null, key);
        call("wrong key", "GET", "/account/stats", null, "0".repeat(32));
        post("bad number", "/notification/messages/send", "{\"number\":\"06\",\"message\":\"Bonjour\"}");
        post("no message", "/notification/messages/send", "{\"number\":\"0600000000\"}");
        call("unknown id", "GET", "/messages/status?snapshotId=999999999", null, key);
        post("unsubscribe", "/unsubscribers/default/contacts", "{\"identifier\":\"0600000010\"}");
        post("refused", "/marketing/messages/send", "{\"number\":\"0600000010\",\"message\":\"Soldes\"}");
        call("back again", "DELETE", "/unsubscribers/default/contacts?identifier=" + encode("+33600000010"), null, key);
    }

    static String post(String name, String path, String body) throws Exception {
        return call(name, "POST", path, body, key);
    }

    static String call(String name, String method, String path, String body, String as) throws Exception {
        HttpResponse<String> response = ask(method, path, body, as);
        String answer = response.body().isEmpty() ? "null" : response.body();
        System.out.printf("{\"call\":\"%s\",\"http\":%d,\"answer\":%s}%n", name, response.statusCode(), answer);
        return answer;
    }

    static HttpResponse<String> ask(String method, String path, String body, String as) throws Exception {
        var content = body == null ? BodyPublishers.noBody() : BodyPublishers.ofString(body);
        var request = HttpRequest.newBuilder(URI.create(base + path)).method(method, content)
            .header("X-Primotexto-ApiKey", as).header("Content-Type", "application/json").build();
        return HTTP.send(request, BodyHandlers.ofString());
    }

    static String encode(String value) {
        return URLEncoder.encode(value, StandardCharsets.UTF_8);
    }
}
