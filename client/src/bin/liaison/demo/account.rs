//! The end: every message accounted for, every receipt verified.

use liaison_client::api::model::{MessageState, ReceiptKind};

use super::arrivals;
use super::stage::{RECIPIENTS, Stage, check};
use crate::failure::Failure;

/// After everything that happened, the sender's books and both inboxes agree.
pub(super) async fn settle(stage: &mut Stage) -> Result<(), Failure> {
    for message in stage.sent.clone() {
        stage.traced(message.id, MessageState::Delivered).await?;
        let receipts = stage.federation.client(super::stage::SENDER).receipts(&message.id.to_string()).await?;
        let id = message.id.short();
        check(receipts.complete, || format!("{id}: a delivery receipt is missing"))?;
        check(receipts.receipts.iter().all(|receipt| receipt.verified), || format!("{id}: a receipt does not verify"))?;
        for agency in RECIPIENTS {
            let by = |receipt: &&liaison_client::api::model::ReceiptView| {
                receipt.kind == ReceiptKind::Delivery && receipt.issuer.as_str() == agency
            };
            check(receipts.receipts.iter().any(|receipt| by(&receipt)), || {
                format!("{id}: no delivery receipt of {agency}")
            })?;
        }
    }
    for agency in RECIPIENTS {
        arrivals::exactly_once(agency, &stage.sent, &arrivals::inbox(stage, agency).await?)?;
    }
    Ok(())
}
