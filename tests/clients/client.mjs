// node client.mjs BASE_URL API_KEY
const [base, key] = process.argv.slice(2);

async function ask(method, path, body, as = key) {
  const headers = { "X-Primotexto-ApiKey": as, "Content-Type": "application/json" };
  const response = await fetch(`${base}/v2${path}`, { method, headers, body: body && JSON.stringify(body) });
  const text = await response.text();
  return { http: response.status, answer: text ? JSON.parse(text) : null };
}

async function call(name, ...request) {
  const { http, answer } = await ask(...request);
  console.log(JSON.stringify({ call: name, http, answer }));
  return answer;
}

const sent = await call("notification", "POST", "/notification/messages/send", {
  number: "0600000000",
  message: "Bonjour Zoé €",
  category: "node",
});
await call("marketing", "POST", "/marketing/messages/send", { number: "+33600000008", message: "Soldes", sender: "Shop" });
const path = `/messages/status?${new URLSearchParams({ snapshotId: sent.snapshotId })}`;
for (let tries = 0; tries < 300 && !("delivered" in (await ask("GET", path)).answer); tries++) {
  await new Promise((resolve) => setTimeout(resolve, 100));
}
await call("by id", "GET", path);
await call("by number", "GET", `/messages/status?${new URLSearchParams({ identifier: "+33600000000" })}`);
await call("wrong key", "GET", "/account/stats", undefined, "0".repeat(32));
await call("bad number", "POST", "/notification/messages/send", { number: "06", message: "Bonjour" });
await call("no message", "POST", "/notification/messages/send", { number: "0600000000" });
await call("unknown id", "GET", "/messages/status?snapshotId=999999999");
await call("unsubscribe", "POST", "/unsubscribers/default/contacts", { identifier: "0600000010" });
await call("refused", "POST", "/marketing/messages/send", { number: "0600000010", message: "Soldes" });
const query = new URLSearchParams({ identifier: "+33600000010" });
await call("back again", "DELETE", `/unsubscribers/default/contacts?${query}`);
