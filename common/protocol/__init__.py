"""The typed messages, and the one place that knows how Flower's records are named.

type            from the server   from the client
query.hello     (nothing)         Hello: public facts
train.step      Task              Reply: arrays that a mechanism made, the head of the ledger
train.sum       SumCall           SumReply: one stage of a secure sum
query.receipt   ReceiptMessage    Reply: a code
query.model     ModelMessage      Reply: a code

Tasks, calls and models are signed by the server. A reply of any type is a fixed code alone
where the client refuses.
"""

from __future__ import annotations

from common.protocol.hello import HELLO, Hello
from common.protocol.models import MODEL, ModelMessage
from common.protocol.receipts import RECEIPT, ReceiptMessage
from common.protocol.records import OK
from common.protocol.replies import Reply
from common.protocol.sum_calls import SUM, CallBody, SumCall
from common.protocol.sum_replies import ReplyBody, SumReply, Words
from common.protocol.tasks import STEP, Task

__all__ = [
    "HELLO",
    "MODEL",
    "OK",
    "RECEIPT",
    "STEP",
    "SUM",
    "CallBody",
    "Hello",
    "ModelMessage",
    "ReceiptMessage",
    "Reply",
    "ReplyBody",
    "SumCall",
    "SumReply",
    "Task",
    "Words",
]
