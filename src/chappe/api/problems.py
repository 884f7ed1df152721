"""The contract's error codes: one table, from which answers, texts and the API description are made."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import msgspec

from chappe.core.errors import ChappeError, Invalid, StoreUnavailable, TooMuch

SERVER_FAULT = 1000
INVALID_PARAMETER = 1001
NO_ROUTE = 1002
METHOD_NOT_ALLOWED = 1003
TOO_SLOW = 1004
BODY_TOO_LARGE = 1005
IDEMPOTENCY = 1006
UNAVAILABLE = 1007
ABSENT = 1010
NO_MESSAGE = 16
INVALID_NUMBER = 11
AUTHENTICATION_FAILED = 72
INVALID_JSON = 73
QUOTA_EXCEEDED = 76
ACCOUNT_BLOCKED = 92

RETRY_AFTER = b"1"
"""Seconds: a store that is away is a matter of moments, or of hours."""

Header = tuple[bytes, bytes]


@dataclass(slots=True, frozen=True)
class Kind:
    """What a code means: the HTTP status it comes with, and its text in two languages."""

    status: int
    french: str
    english: str


KINDS: Mapping[int, Kind] = {
    # Meanings: the contract's table of errors; statuses: its decision, 400 where it names none.
    10: Kind(400, "Aucun numéro de téléphone.", "No phone number."),
    11: Kind(400, "Numéro de téléphone invalide.", "Invalid phone number."),
    12: Kind(400, "Ce numéro est désabonné.", "This number has unsubscribed."),
    13: Kind(400, "Ce numéro n'est pas attribué (votre liste).", "This number has bounced (your own list)."),
    14: Kind(400, "Ce numéro n'est pas attribué (liste globale).", "This number has bounced (global list)."),
    15: Kind(409, "Ce numéro existe déjà.", "This number already exists."),
    16: Kind(404, "Aucun message ne correspond à cette demande.", "No message for this query."),
    17: Kind(400, "Trop de champs.", "Too many fields."),
    18: Kind(413, "Fichier trop volumineux.", "The file is too large."),
    19: Kind(400, "Ce numéro est celui d'une ligne fixe.", "This number is a fixed line."),
    20: Kind(
        400,
        "Expéditeur invalide : lettres sans accent et chiffres seulement.",
        "Invalid characters in the sender: unaccented letters and digits only.",
    ),
    21: Kind(400, "Expéditeur trop court : 3 caractères au moins.", "The sender is too short: 3 characters at least."),
    22: Kind(400, "Expéditeur trop long : 11 caractères au plus.", "The sender is too long: 11 characters at most."),
    23: Kind(400, "L'expéditeur ne peut pas être fait que de chiffres.", "The sender cannot consist of digits only."),
    30: Kind(400, "Le message n'a pas de texte.", "The message has no text."),
    31: Kind(400, "Le message contient des caractères invalides.", "The message contains invalid characters."),
    32: Kind(400, "Le message est trop long.", "The message is too long."),
    40: Kind(400, "Nom de campagne invalide.", "Invalid campaign name."),
    41: Kind(400, "Heure de campagne invalide.", "Invalid campaign time."),
    42: Kind(400, "Cette campagne ne peut pas être supprimée.", "This campaign cannot be deleted."),
    43: Kind(400, "Cette campagne ne peut pas être annulée.", "This campaign cannot be cancelled."),
    44: Kind(400, "Limite de la période d'essai atteinte.", "The trial limit has been reached."),
    45: Kind(400, "Catégorie invalide.", "Invalid campaign tag."),
    46: Kind(409, "Cette catégorie existe déjà.", "This tag already exists."),
    47: Kind(404, "Campagne introuvable.", "Campaign not found."),
    48: Kind(400, "Liste de campagne invalide.", "Invalid campaign list."),
    60: Kind(404, "Liste introuvable.", "List not found."),
    61: Kind(
        400,
        "Date invalide : des millisecondes depuis 1970 sont attendues.",
        "Invalid date: milliseconds since 1970 are expected.",
    ),
    62: Kind(
        400,
        "Envoi impossible à cette date : elle est passée ou trop lointaine.",
        "This date cannot be scheduled: it is past or too far ahead.",
    ),
    70: Kind(401, "L'accès à l'API est désactivé.", "API access is disabled."),
    71: Kind(402, "Crédits insuffisants.", "Not enough credits."),
    72: Kind(
        401,
        "Authentification refusée : clé absente ou inconnue dans l'en-tête X-Primotexto-ApiKey.",
        "Authentication failed: missing or unknown key in the X-Primotexto-ApiKey header.",
    ),
    73: Kind(400, "Le corps n'est pas un objet JSON valide.", "The body is not a valid JSON object."),
    74: Kind(400, "Trop de contacts en un appel.", "Too many contacts in one call."),
    75: Kind(400, "L'import n'a pas de colonne « tel ».", 'The import has no "tel" column.'),
    76: Kind(429, "Quota dépassé.", "Quota exceeded."),
    90: Kind(400, "Ce pays n'est pas desservi.", "This country is not supported."),
    91: Kind(400, "Le mode international est nécessaire.", "International mode is needed."),
    92: Kind(403, "Ce compte est bloqué.", "This account is blocked."),
    93: Kind(404, "Utilisateur introuvable.", "User not found."),
    94: Kind(400, "Informations de l'utilisateur invalides.", "Invalid user information."),
    95: Kind(400, "Le compte n'a pas pu être créé.", "The account could not be created."),
    120: Kind(400, "Campagne automatique invalide.", "Invalid automatic campaign."),
    121: Kind(400, "Contact automatique invalide.", "Invalid automatic contact."),
    # Ours.
    1000: Kind(500, "Erreur du serveur.", "Server fault."),
    1001: Kind(400, "Paramètre invalide.", "Invalid parameter."),
    1002: Kind(404, "Cette adresse n'existe pas.", "No such route."),
    1003: Kind(405, "Méthode non autorisée à cette adresse.", "Method not allowed on this route."),
    1004: Kind(408, "La requête arrive trop lentement.", "The request is too slow."),
    1005: Kind(413, "La requête est trop volumineuse.", "The request is too large."),
    1006: Kind(
        422,
        "Cette clé d'idempotence a déjà servi pour un autre envoi.",
        "This idempotency key has been used for another request.",
    ),
    1007: Kind(503, "Service momentanément indisponible, réessayez.", "Unavailable for the moment, try again."),
    1008: Kind(404, "Ce webhook n'existe pas.", "No such webhook."),
    1009: Kind(409, "Ce webhook est désactivé : réactivez-le d'abord.", "This webhook is disabled: enable it first."),
    1010: Kind(404, "Ce champ, ce contact ou cette opération n'existe pas.", "No such field, contact or operation."),
}


class Hint(Enum):
    """A better text than the code's own where we know what went wrong: French, English."""

    USE_SNAPSHOT_ID = (
        "Numéro de téléphone invalide ; pour l'identifiant d'un message, utilisez snapshotId.",
        "Invalid phone number; for the id of a message, use snapshotId.",
    )
    ONE_OF_TWO = (
        "Donnez soit identifier, soit snapshotId, une seule fois.",
        "Give either identifier or snapshotId, once.",
    )
    STILL_RUNNING = (
        "Une requête avec cette clé d'idempotence est encore en cours.",
        "A request with this idempotency key is still running.",
    )
    FORBIDDEN_URL = (
        "Aucun webhook ne peut aller à cette adresse : http(s) vers une adresse publique est attendu.",
        "No webhook may go to this URL: http(s) to a public address is expected.",
    )
    LEFT_ALREADY = (
        "Ce message ne peut pas être annulé : il est parti, ou l'est peut-être.",
        "This message cannot be cancelled: it has left, or may have.",
    )
    NAME_TAKEN = (
        "La liste a déjà un champ de ce nom.",
        "The list has a field of this name already.",
    )
    CAMPAIGN_OVER = (
        "Cette campagne a été annulée : elle ne peut plus être envoyée.",
        "This campaign was cancelled: it cannot be sent any more.",
    )
    CAMPAIGN_NOT_SENDING = (
        "Seule une campagne en cours d'envoi peut être suspendue, ou reprise.",
        "Only a campaign that is being sent can be paused, or resumed.",
    )
    MALFORMED = ("Requête HTTP mal formée.", "Malformed HTTP request.")


class Problem(ChappeError):
    """An answer that is not a success; `status` is the code's own unless given."""

    def __init__(
        self,
        code: int,
        field: str | None = None,
        *,
        status: int | None = None,
        hint: Hint | None = None,
        headers: Sequence[Header] = (),
    ) -> None:
        super().__init__(code, field)
        self.code = code
        self.field = field
        self.status = status or KINDS[code].status
        self.hint = hint
        self.headers = headers


class ProblemAnswer(msgspec.Struct):
    """The body of every error; `error` and `message` say the same, for clients read one or the other."""

    code: int
    error: str
    message: str
    field: str | msgspec.UnsetType = msgspec.UNSET


def problem_of(error: ChappeError) -> Problem:
    """How an error of ours is told over HTTP."""
    match error:
        case Problem():
            return error
        case TooMuch():
            return Problem(error.code, error.field, headers=[retry_after(error.retry_ms)])
        case Invalid():
            return Problem(error.code, error.field)
        case StoreUnavailable():
            return Problem(UNAVAILABLE, headers=[(b"retry-after", RETRY_AFTER)])
        case _:
            return Problem(SERVER_FAULT)


def retry_after(wait_ms: int) -> Header:
    """In whole seconds, and not too early."""
    return (b"retry-after", b"%d" % max(1, -(-wait_ms // 1000)))


def describe(problem: Problem, accept_language: bytes) -> ProblemAnswer:
    """The problem in the words of the caller's language."""
    kind = KINDS[problem.code]
    french, english = problem.hint.value if problem.hint else (kind.french, kind.english)
    text = french if prefers_french(accept_language) else english
    if problem.code == INVALID_PARAMETER and problem.field and problem.hint is None:
        text = f"{text.removesuffix('.')}{' :' if text is french else ':'} {problem.field}."
    return ProblemAnswer(problem.code, text, text, problem.field or msgspec.UNSET)


def body_of(problem: Problem, accept_language: bytes) -> bytes:
    return msgspec.json.encode(describe(problem, accept_language))


def prefers_french(accept_language: bytes) -> bool:
    """Whether French comes before English in an `Accept-Language` header (RFC 9110 §12.5.4).

    English when it names neither, and without a header: that is mostly a program whose author reads the log.
    """
    best, preferred = 0.0, b"en"
    for language, weight in _LANGUAGE.findall(accept_language[:1000]):
        if language.lower() in (b"fr", b"en") and float(weight or 1) > best:
            best, preferred = float(weight or 1), language.lower()
    return preferred == b"fr"


_LANGUAGE = re.compile(rb"([A-Za-z]{1,8})(?:-[A-Za-z0-9]{1,8})*[ \t]*(?:;[ \t]*q=([01](?:\.[0-9]{0,3})?))?(?:,|\Z)")
