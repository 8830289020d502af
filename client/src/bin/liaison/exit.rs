//! Exit codes, the same table in all three binaries.

/// How a command ends. The numbers are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    Done = 0,
    Finding = 1,
    Usage = 2,
    Data = 65,
    NoInput = 66,
    NoAgency = 67,
    Unavailable = 69,
    Internal = 70,
    Io = 74,
    NotYet = 75,
    Refused = 77,
    Config = 78,
    Interrupted = 130,
}

/// `liaison help exit-codes`.
pub(crate) const TOPIC: &str = "\
Exit codes of liaison, liaisond and liaison-relay:

  0    done (send: the message is in the outbox, durable)
  1    the check failed, or a finding exists (doctor, verify, status)
  2    usage error
  65   bad input data, or a signature that is not valid
  66   input file missing or unreadable
  67   unknown agency
  69   daemon or relay not reachable
  70   internal error
  74   input/output error
  75   not yet: a wait ran out, or try later; an accepted message is safe
  77   refused by policy or permission, or not confirmed
  78   configuration wrong
  130  interrupted

With --json, an error is one object on stderr:
  {\"error\":{\"code\":\"unknown_agency\",\"exit\":67,\"message\":\"…\",\"hint\":\"…\",\"retryable\":false}}
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topic_lists_every_code() {
        let all = [
            Exit::Done,
            Exit::Finding,
            Exit::Usage,
            Exit::Data,
            Exit::NoInput,
            Exit::NoAgency,
            Exit::Unavailable,
            Exit::Internal,
            Exit::Io,
            Exit::NotYet,
            Exit::Refused,
            Exit::Config,
            Exit::Interrupted,
        ];
        for exit in all {
            assert!(TOPIC.contains(&format!("\n  {:<4} ", exit as u8)), "{exit:?}");
        }
    }
}
