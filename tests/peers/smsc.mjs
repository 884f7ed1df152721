// An SMSC of node-smpp. What it hears it says as lines of JSON, with texts as it has decoded them; it acts on lines of
// JSON: {"do": "deliver", "pdu": {…}} and {"do": "unbind"}, to the newest bind that receives.
import { createInterface } from "node:readline";
import smpp from "smpp";

const MAGIC_REFUSED = "33600000007";
const say = (event, more = {}) => console.log(JSON.stringify({ event, ...more }));
const receivers = [];
let accepted = 0;

function onSubmit(session, pdu) {
  const { message, udh } = pdu.short_message;
  const refused = pdu.destination_addr === MAGIC_REFUSED;
  const id = refused ? "" : `Node-${++accepted}`;
  const { source_addr, destination_addr, esm_class, data_coding, registered_delivery } = pdu;
  say("submit", {
    id, source_addr, destination_addr, esm_class, data_coding, registered_delivery, text: message,
    udh: (udh ?? []).map((element) => element.toString("hex")), reference: pdu.user_message_reference,
  });
  session.send(pdu.response(refused ? { command_status: smpp.ESME_RINVDSTADR } : { message_id: id }));
}

function onBind(session, pdu, receives) {
  const known = pdu.system_id === "chappe" && pdu.password === "secret";
  session.send(pdu.response(known ? { system_id: "node-smpp" } : { command_status: smpp.ESME_RINVPASWD }));
  say("bind", { command: pdu.command, known });
  if (known && receives) receivers.push(session);
}

const server = smpp.createServer((session) => {
  session.on("bind_transceiver", (pdu) => onBind(session, pdu, true));
  session.on("bind_receiver", (pdu) => onBind(session, pdu, true));
  session.on("bind_transmitter", (pdu) => onBind(session, pdu, false));
  session.on("submit_sm", (pdu) => onSubmit(session, pdu));
  session.on("enquire_link", (pdu) => session.send(pdu.response()));
  session.on("unbind", (pdu) => session.send(pdu.response(), () => { say("unbind"); session.close(); }));
  session.on("unbind_resp", () => { say("unbound"); session.close(); });
  session.on("error", (error) => say("error", { text: String(error) }));
  session.on("close", () => {
    const place = receivers.indexOf(session);
    if (place >= 0) receivers.splice(place, 1);
  });
});
server.listen(0, "127.0.0.1", () => say("listening", { port: server.address().port }));

createInterface({ input: process.stdin })
  .on("line", (line) => {
    const command = JSON.parse(line);
    const session = receivers.at(-1);
    if (command.do === "unbind") return session.unbind();
    const pdu = command.pdu;
    if (pdu.udh) pdu.short_message = { udh: Buffer.from(pdu.udh, "hex"), message: pdu.short_message };
    session.deliver_sm(pdu, (answer) => say("answer", { status: answer.command_status }));
  })
  .on("close", () => process.exit());
