"""An SMSC without a network: answers submits, sends receipts and replies, and has an operator's bad habits.

It speaks SMPP over real TCP with the same session as our client, so any ESME can be pointed at it. Ten numbers are
magic (`MAGIC`); what it does to all others is its `Mood`. It keeps what could not be delivered and tries again, also
after a reconnection. It does not route, bill, or store anything on disk.
"""

from chappe.simulator.moods import MAGIC, Fate, IdForm, Mood, Script, load_mood, mood_names
from chappe.simulator.smsc import Simulator, Submitted, run

__all__ = ["MAGIC", "Fate", "IdForm", "Mood", "Script", "Simulator", "Submitted", "load_mood", "mood_names", "run"]
