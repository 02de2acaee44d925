//! A ticket as a MIME message, the same bytes each time: the Message-ID comes from the key, the date from the events.

use std::time::{Duration, SystemTime};

use lettre::Message;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, header};

use crate::notifiers::NotifyError;
use crate::ticket::Ticket;

pub fn message(ticket: &Ticket, from: &str) -> Result<Message, NotifyError> {
    let from = mailbox("from", None, from)?;
    let id = format!("<{}@{}>", ticket.key, from.email.domain());
    let mut message = Message::builder()
        .from(from)
        .to(mailbox("owner", Some(&ticket.to.name), &ticket.to.email)?)
        .reply_to(mailbox("reply_to", None, &ticket.reply_to)?)
        .subject(ticket.title.clone())
        .date(date(ticket))
        .message_id(Some(id))
        .header(ContentType::TEXT_PLAIN)
        .header(header::MIME_VERSION_1_0)
        .body(ticket.body.clone())
        .map_err(|error| NotifyError::Rejected(error.to_string()))?;
    // RFC 3834: so that no vacation notice answers it.
    for (name, value) in [("Auto-Submitted", "auto-generated"), ("X-Keytrail-Ticket", ticket.key.as_str())] {
        if let Ok(name) = HeaderName::new_from_ascii(name.to_owned()) {
            message.headers_mut().insert_raw(HeaderValue::new(name, value.to_owned()));
        }
    }
    Ok(message)
}

fn date(ticket: &Ticket) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(ticket.at.0 / 1_000_000).unwrap_or_default())
}

fn mailbox(what: &str, name: Option<&str>, address: &str) -> Result<Mailbox, NotifyError> {
    let read: Result<Mailbox, _> = address.parse();
    let bad = |error| NotifyError::Rejected(format!("`{address}` ({what}) is no mail address: {error}"));
    let mut mailbox = read.map_err(bad)?;
    mailbox.name = name.map(str::to_owned).or(mailbox.name);
    Ok(mailbox)
}
