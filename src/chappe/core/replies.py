"""Understands what people write back: STOP, CONTACT, START, or an ordinary reply; and joins its parts.

The rule, in words. Case, accents, punctuation, emoji, letters written apart ("S T O P") or too often ("STOOOP") do
not matter. A reply is STOP when

1. every word of it goes with a stop word: courtesy or a wish first ("merci de me", "please"), then the stop word, then
   nothing but stop words, courtesy, what is to stop ("vos sms", "la pub") and numbers ("au 36111"); one word beyond
   makes it an ordinary reply ("stop à 18h c'est bon", "don't stop", "bus stop"); or
2. one of its sentences says in full that no more is wanted ("je ne veux plus recevoir vos messages", "remove my
   number"), again with no word beyond; or
3. one of its sentences or lines is STOP by rule 1 and by a word that has no other use ("STOP. Je ne suis plus
   client", "Mauvais numéro ! STOP", and any signature below); or
4. it is STOP and a name ("STOP DARTY"), which is any one word that is not about time or place ("stop demain"); or
5. each of its sentences is STOP by rule 1, 2 or 4.

So a sentence that merely contains the word is a reply; in a short message the doubt goes to STOP, because a missed
STOP breaks the law (CPCE L34-5) and a mistaken one costs a message. CONTACT (who are you?) may have courtesy and
numbers beside it, START nothing at all: consent must be plain. The words are the tables below; what they are made for
is tests/core/stop_spellings.txt.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import pairwise

from chappe.core.message import Inbound
from chappe.core.text import decode


def _words_of(table: str) -> frozenset[str]:
    return frozenset(table.split())


STOP = _words_of(
    # STOP is the operators' word, ARRET Canada's, the English ones the American carriers' (AWS and Braze list them).
    """
    stop stops stope stoper stopez stoppe stopper stoppez stopall stpo sotp st0p 5top
    stiop stip stoip stol stopm stopo sto0p stpop syop dtop tsop
    unsubscribe unsubscribed unsuscribe unsubcribe unsubscibe unsubscrib unsub optout
    desabonnement desabonnements desabonner desabonne desabonnez desabo desabonnes
    desinscription desinscriptions desinscrire desinscris desinscrit desinscrite desinscrivez desincription desincrire
    desinscri afmelden uitschrijven stoppen abmelden abbestellen
    """
)
"""Words that have no other use in a reply."""

STOP_TOO = _words_of("arret arrete arretes arreter arretez arrets cesser cessez fin end quit revoke")
"""Words with other uses as well ("l'arrêt de bus", "arrête, tu me fais rire"): rule 1 for the whole reply only.

Left out on purpose: ANNULER, CANCEL and RESILIER, which people answer to reminders of appointments and contracts, and
NON and NO, which answer questions.
"""

COURTESY = _words_of(
    """
    svp stp please pls plz plait merci thanks thank you thx bonjour bonsoir salut slt coucou hello hi bjr bsr madame
    monsieur messieurs mesdames beaucoup ok oui non no yes cordialement cdt cdlt aub bitte danke gracias grazie
    """
)
"""Says nothing of its own, before or after."""

BEFORE = _words_of("de d me m se s a to sms pub pubs message messages msg texto textos contact envoyer demande")
"""May also stand in front of a stop word: "merci de me désabonner", "SMS STOP"; no "l'": "l'arrêt" is a noun."""

AFTER = _words_of(
    """
    sms mms text texts pub pubs publicite publicites publicitaire publicitaires message messages msg msgs mess texto
    textos mail mails envoi envois promo promos promotion promotions offre offres spam spams notification
    notifications notif notifs alerte alertes newsletter newsletters liste listes list lists fichier fichiers base
    database numero numeros num number tel telephone appel appels relance relances demarchage contact abonnement
    info infos marketing commercial commerciaux commerciale commerciales all everything tout tous toute toutes ce
    ces cet cette ca cela le la les l un une des de du d vos votre ton tes mon ma mes me m moi your my the this
    these those it that from to a au sur pour par definitivement definitif definitive immediatement immediat
    immediate total totale maintenant now immediately envoyer envoyez recevoir ecrire contacter sending texting
    messaging receiving contacting spamming calling bothering harassing annoying part plus aux rien et and
    harcelement harceler spammer spammeurs bande arnaque arnaques arnaqueurs escrocs voleurs gars
    """
)
"""What is to stop, behind the stop word."""

NO_MORE = tuple(
    tuple(phrase.split())
    for phrase in (
        "plus recevoir",
        "pas recevoir",
        "plus envoyer",
        "plus contacter",
        "plus deranger",
        "plus ecrire",
        "plus solliciter",
        "ne envoyez plus",
        "ne contactez plus",
        "ne derangez plus",
        "ne ecrivez plus",
        "retirez moi",
        "retirez numero",
        "retirer numero",
        "me retirer",
        "enlevez moi",
        "enlevez numero",
        "enlever numero",
        "m enlever",
        "supprimez moi",
        "me supprimer",
        "supprimez numero",
        "supprimer numero",
        "effacez numero",
        "remove me",
        "remove number",
        "delete number",
        "take me off",
        "opt out",
        "don t text",
        "don t contact",
        "don t send",
        "dont text",
        "dont contact",
        "dont send",
        "do not text",
        "do not contact",
        "do not send",
        "t want receive",
        "t want more messages",
        "dont want receive",
        "not want receive",
        "no more messages",
        "no more sms",
        "no more texts",
    )
)
"""Rule 2: words in this order, with nothing but harmless ones around and between."""

AROUND = _words_of(
    """
    ne plus pas jamais je j nous vous veux voudrais voulons souhaite souhaitons desire aimerais aucun aucune autre
    autres i do don t want any more anymore again further off out in future avenir l dorenavant desormais ni
    """
)
"""Harmless in such a phrase, and only there."""

NO_NAME = _words_of(
    """
    demain aujourd hui matin midi soir nuit hier lundi mardi mercredi jeudi vendredi samedi dimanche tomorrow today
    tonight monday tuesday wednesday thursday friday saturday sunday heure heures minute minutes rdv ici la bas here
    there by at in near pas jamais never not ou or bus gare
    """
)
"""Rule 4: not the name of a sender."""

MISSING = " [...] "
"""Stands for the parts that never came."""

MOST_WORDS = 40
"""A longer sentence is nobody's STOP."""

LONGEST_READ = 1000
"""Of a longer reply only the first and last half of this are looked at: time is bounded whatever people send."""


def recognise(text: str) -> str:
    """`STOP`, `CONTACT`, `START`, or empty for an ordinary reply. Never raises."""
    if len(text) > LONGEST_READ:
        text = text[: LONGEST_READ // 2] + MISSING + text[-LONGEST_READ // 2 :]
    sentences = [words for sentence in re.split(r"[.!?;:\n\r]+", _plain(text)) if (words := _words(sentence))]
    whole = [word for sentence in sentences for word in sentence]
    if not whole:
        return ""
    if (
        _means_stop(whole)
        or all(_means_stop(words) for words in sentences)
        or any(_wants_no_more(words) for words in sentences)
        or any(_is_stop(words, STOP) for words in sentences)
    ):
        return "STOP"
    if whole == ["start"]:
        return "START"
    if "contact" in whole and all(
        word in COURTESY or word in ("contact", "au", "sms") or _is_address(word) for word in whole
    ):
        return "CONTACT"
    return ""


def join(parts: Sequence[Inbound]) -> str:
    """The text of one reply from its parts in any order, some perhaps missing; the first of duplicates counts.

    Octets of neighbouring parts are joined before they are decoded, because senders cut surrogate pairs and escapes
    in two. Where parts are missing there is one MISSING, without its outer space at either end of the text.
    """
    by_sequence: dict[int, Inbound] = {}
    for part in parts:
        by_sequence.setdefault(part.sequence, part)
    text, expected = "", 1
    for run in _runs([by_sequence[sequence] for sequence in sorted(by_sequence)]):
        if run[0].sequence > expected:
            text += MISSING if text else MISSING.lstrip()
        text += decode(b"".join(part.octets for part in run), run[0].data_coding)
        expected = run[-1].sequence + 1
    if expected <= max((part.total for part in parts), default=0):
        text += MISSING.rstrip()
    return text


# --- below: how it is done ---------------------------------------------------------------------------

_APART = re.compile(r"(?<![a-z0-9])[a-z](?:[ \t\xa0.\-_*,/]{1,3}[a-z](?![a-z0-9])){3,}")
"""S T O P, s.t.o.p: four letters or more, each alone, on one line: the next line may begin with a lone letter too."""

_SAME = (
    # Other ways to write the same; first an unreadable ê or é, as gateways that know no accents pass it on.
    (re.compile(r"\barr[?*]t"), "arret"),
    (re.compile(r"\bd[?*]s(?=abo|insc)"), "des"),
    (re.compile(r"\bnon-stop\b"), "nonstop"),
    (re.compile(r"\b(?:s[ .]top|st[ .]op|sto[ .]p)\b"), "stop"),
    (re.compile(r"\bun[ -]subscribe\b"), "unsubscribe"),
    (re.compile(r"\bdes-(?=abo|insc)"), "des"),
    # Numbers in groups: 36 111, 06.12.34.56.78.
    (re.compile(r"(?<=[0-9])[ .-]+(?=[0-9])"), ""),
)

_PHRASES = tuple(
    (re.compile(rf"\b(?:{phrase})\b"), said)
    for phrase, said in (
        # None says more than "please". Words are in lower case here, without accents, a space between them.
        ("s il (?:vous|te) pl[a-z]+", "svp"),
        (
            "(?:je|nous) (?:veux|voudrais|souhaite|souhaiterais|souhaitons|desire|aimerais|(?:vous )?(?:demande|prie))"
            "(?: bien)?(?: de| a)?(?= (?:me |m |se |nous |vous |que vous )?(?:des(?:abo|insc|inc)|arret|stop))",
            "svp",
        ),
        # A noun that is asked for: "je demande l'arrêt"; "l'arrêt" alone may be where the bus stops.
        (
            "(?:je|nous) (?:veux|voulons|souhaite|souhaitons|demande|demandons)"
            " (?:l(?= arret)|(?:l|la|le|ma|mon)(?= des(?:abo|insc)))",
            "svp",
        ),
        ("pour(?: (?:la|le|ma|mon))?(?= des(?:abo|insc))", "svp"),
        ("(?:moi )?(?:je (?:vous )?(?:dis|reponds|tape)|j envoie|merci de (?:faire|mettre))(?= stop)", "svp"),
        ("(?:ma )?reponse(?: est)?(?= stop)", "svp"),
        ("plus (?:de|d) (?:sms|messages?|pubs?)(?=(?: svp| merci)* stop)", "svp"),
        # So many ways to say that it is enough.
        (
            "ca suffit|(?:(?:il )?y en a |j en ai )?marre|ras le bol|assez|enough"
            "|(?:c est )?trop(?: de (?:sms|messages?|pubs?))?",
            "svp",
        ),
        (
            "(?:laissez|foutez|fichez|lachez) (?:moi|nous)(?: (?:tranquilles?|la paix|en paix))?|c est du harcelement",
            "svp",
        ),
        ("(?:ou|sinon) (?:je porte )?plainte(?: cnil)?", "svp"),
        ("etre (?:contacte|sollicite|derange|demarche)(?: ?e)?s?", "contacter"),
        ("(?:de )?(?:bien vouloir|vouloir bien)|(?:pouvez|pourriez) vous|veuillez|peux tu", "svp"),
        (
            "(?:comment )?(?:(?:on|je|faire|fait|fais|peux|puis|pour) ){0,5}(?:me |m |se |s )?(?=des(?:abo|insc|inc))",
            "svp ",
        ),
        ("i (?:want|would like|wish|d like) to|(?:can|could) you|how (?:do i|to|can i)", "svp"),
        ("(?:je )?(?:ne )?(?:suis )?(?:pas|plus|non) interesse(?: ?e)?(?: du tout)?", "svp"),
        ("je n en veux plus|bonne (?:journee|soiree|continuation)", "svp"),
        ("le mot|the word", "svp"),
        (
            "tout de suite|right now|une (?:bonne )?fois pour toutes|a partir de maintenant|pour toujours|a jamais",
            "svp",
        ),
        ("d avance|a lot|dank u(?: wel)?|por favor|per favore", "svp"),
    )
)

_GLUED = re.compile(r"(?:sms|pub)?(?:stop|arret)+(?:svp|stp|sms|pubs?|merci|msg|spam|please|all|au|[0-9])*x*")
"""STOPSMS, STOP36111, STOPSTOP."""


def _plain(text: str) -> str:
    """Lower case without accents and invisible characters; what was written apart is together."""
    decomposed = unicodedata.normalize("NFKD", text.replace(MISSING.strip(), " missing ")).casefold()
    plain = "".join(c for c in decomposed if unicodedata.category(c) not in ("Mn", "Me", "Cf"))
    plain = _APART.sub(lambda letters: re.sub("[^a-z]", "", letters[0]), plain)
    for pattern, same in _SAME:
        plain = pattern.sub(same, plain)
    return plain


def _words(sentence: str) -> list[str]:
    spaced = " ".join(re.findall("[a-z0-9]+", sentence))
    for pattern, said in _PHRASES:
        spaced = pattern.sub(said, spaced)
    return [_known(word) for word in spaced.split()]


def _known(word: str) -> str:
    """The word of the tables that this one is a way to write; else the word."""
    if word in STOP or word in STOP_TOO:
        return word
    if _GLUED.fullmatch(word):
        return "stop"
    return _SQUEEZED.get(_squeeze(word), "ne" if word == "n" else word)


def _squeeze(word: str) -> str:
    return re.sub(r"(.)\1+", r"\1", word)


_SQUEEZED = {_squeeze(word): word for word in sorted(STOP | STOP_TOO)}

_FILLERS = COURTESY | BEFORE

_FOLLOWERS = COURTESY | AFTER | STOP | STOP_TOO

_HARMLESS = _FILLERS | _FOLLOWERS | AROUND | {word for phrase in NO_MORE for word in phrase}


def _means_stop(words: Sequence[str]) -> bool:
    return _is_stop(words, STOP | STOP_TOO) or _wants_no_more(words) or _stops_a_name(words)


def _is_stop(words: Sequence[str], stops: frozenset[str]) -> bool:
    """Rule 1, with these stop words."""
    first = next((i for i, word in enumerate(words) if word in stops), None)
    if first is None or len(words) > MOST_WORDS:
        return False
    if not all(word in _FILLERS or _is_address(word) for word in words[:first]):
        return False
    return all(
        # "stop 2" names a list; behind another word a small number is a time or a bus.
        word in _FOLLOWERS or _is_address(word) or (word.isdecimal() and before in STOP)
        for before, word in pairwise(words[first:])
    )


def _wants_no_more(words: Sequence[str]) -> bool:
    """Rule 2."""
    if len(words) > MOST_WORDS or not all(word in _HARMLESS or _is_address(word) for word in words):
        return False
    return any(_in_order(phrase, words) for phrase in NO_MORE)


def _stops_a_name(words: Sequence[str]) -> bool:
    """Rule 4."""
    match [word for word in words if word not in COURTESY]:
        case ["stop", name, *address]:
            return (
                re.fullmatch("[a-z][a-z0-9]+", name) is not None
                and name not in NO_NAME
                and all(word == "au" or word in STOP or _is_address(word) for word in address)
            )
    return False


def _is_address(word: str) -> bool:
    """A short code, as it is or as an example writes it (36xxx), or a telephone number."""
    return re.fullmatch("[0-9]{5,}|[0-9]{0,2}x{3,5}", word) is not None


def _in_order(phrase: Sequence[str], words: Sequence[str]) -> bool:
    left = iter(words)
    return all(word in left for word in phrase)


def _runs(parts: Sequence[Inbound]) -> Iterator[list[Inbound]]:
    """Neighbours that may be decoded as one: in sequence, of one coding, and no UCS-2 unit known to be broken."""
    run: list[Inbound] = []
    for part in parts:
        if run and not _continues(run[-1], part):
            yield run
            run = []
        run.append(part)
    if run:
        yield run


def _continues(before: Inbound, part: Inbound) -> bool:
    if part.sequence != before.sequence + 1 or part.data_coding != before.data_coding:
        return False
    is_broken = len(before.octets) % 2 == 1 and decode(b"\0A", before.data_coding) == "A"
    return not is_broken
