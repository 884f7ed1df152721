// A customer of node-smpp: node customer.mjs PORT SYSTEM_ID PASSWORD. It binds, does what it is told in lines of JSON
// ({"do": "submit", "number": …, "text": …}, {"do": "unbind"}), and says what it sees as such.
import { createInterface } from "node:readline";
import smpp from "smpp";

const RECEIPT = 0x04;
const [port, system_id, password] = process.argv.slice(2);
const say = (event, more = {}) => console.log(JSON.stringify({ event, ...more }));
const session = smpp.connect({ host: "127.0.0.1", port: Number(port) }, () => {
  session.bind_transceiver({ system_id, password }, (answer) => {
    say("bind", { status: answer.command_status, system_id: answer.system_id ?? "" });
    createInterface({ input: process.stdin }).on("line", act).on("close", () => session.destroy());
  });
});
let reference = 0;

// Texts that GSM 03.38 has go out as what this library makes of them by itself; 76 characters fit a part of either.
function* parts(text) {
  const whole = [...text];
  if (whole.length <= 70) return yield text;
  const pieces = [];
  while (whole.length) pieces.push(whole.splice(0, 60).join(""));
  reference++;
  for (const [place, message] of pieces.entries())
    yield { udh: Buffer.from([5, 0, 3, reference, pieces.length, place + 1]), message };
}

function act(line) {
  const command = JSON.parse(line);
  if (command.do === "unbind") return session.unbind((answer) => say("unbound", { status: answer.command_status }));
  if (command.do !== "submit") return; // it reads by itself
  for (const short_message of parts(command.text))
    session.submit_sm(
      {
        source_addr_ton: 5, source_addr: "CHAPPE", dest_addr_ton: 1, dest_addr_npi: 1,
        destination_addr: command.number, registered_delivery: 1, short_message,
      },
      (answer) => say("answer", { status: answer.command_status, id: answer.message_id ?? "" }),
    );
}

session.on("deliver_sm", (pdu) => {
  const { message, udh } = pdu.short_message;
  say("deliver", {
    source_addr: pdu.source_addr, destination_addr: pdu.destination_addr, receipt: Boolean(pdu.esm_class & RECEIPT),
    header: udh ? "050003" + udh[0].subarray(2).toString("hex") : "", id: pdu.receipted_message_id ?? "", text: message,
  });
  session.send(pdu.response());
});
session.on("enquire_link", (pdu) => session.send(pdu.response()));
session.on("unbind", (pdu) => session.send(pdu.response(), () => { say("unbound"); session.close(); }));
session.on("close", () => process.exit());
