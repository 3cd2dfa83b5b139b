"""What an answer of the mail server means."""

import smtplib


def refusal(error: OSError) -> str:
    """Why the mail server will never take this mail for this address; empty if it may another time.

    Only what speaks of the recipient or the mail: a refused login or sender is ours to mend, then the mail goes out.
    """
    answers: list[tuple[int, bytes | str]]
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        answers = list(error.recipients.values())
    elif isinstance(error, smtplib.SMTPDataError):
        answers = [(error.smtp_code, error.smtp_error)]
    else:
        return ""
    if any(code < 500 for code, _ in answers):
        return ""
    code, text = answers[0]
    return f"The mail server refused: {code} {text.decode(errors='replace') if isinstance(text, bytes) else text}"


def is_deferral(error: OSError) -> bool:
    """Whether the server takes mails, but this one later, as with greylisting; a whole server may be away otherwise."""
    return isinstance(error, smtplib.SMTPRecipientsRefused) and not refusal(error)
