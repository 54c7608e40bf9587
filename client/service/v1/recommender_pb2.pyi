import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Serving(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SERVING_UNSPECIFIED: _ClassVar[Serving]
    JOINT: _ClassVar[Serving]
    SHOP: _ClassVar[Serving]

class Method(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    METHOD_UNSPECIFIED: _ClassVar[Method]
    SHOPPER: _ClassVar[Method]
    POPULARITY: _ClassVar[Method]
    ITEMS: _ClassVar[Method]
    CATALOGUE: _ClassVar[Method]
    RECORDS: _ClassVar[Method]

class Attribution(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ATTRIBUTION_UNSPECIFIED: _ClassVar[Attribution]
    TERMS: _ClassVar[Attribution]
    LEFT_OUT: _ClassVar[Attribution]
SERVING_UNSPECIFIED: Serving
JOINT: Serving
SHOP: Serving
METHOD_UNSPECIFIED: Method
SHOPPER: Method
POPULARITY: Method
ITEMS: Method
CATALOGUE: Method
RECORDS: Method
ATTRIBUTION_UNSPECIFIED: Attribution
TERMS: Attribution
LEFT_OUT: Attribution

class Basis(_message.Message):
    __slots__ = ("model_version", "model_serial", "serving", "method", "personal", "held_back", "scores_are_ratings")
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_SERIAL_FIELD_NUMBER: _ClassVar[int]
    SERVING_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    PERSONAL_FIELD_NUMBER: _ClassVar[int]
    HELD_BACK_FIELD_NUMBER: _ClassVar[int]
    SCORES_ARE_RATINGS_FIELD_NUMBER: _ClassVar[int]
    model_version: str
    model_serial: int
    serving: Serving
    method: Method
    personal: bool
    held_back: str
    scores_are_ratings: bool
    def __init__(self, model_version: _Optional[str] = ..., model_serial: _Optional[int] = ..., serving: _Optional[_Union[Serving, str]] = ..., method: _Optional[_Union[Method, str]] = ..., personal: bool = ..., held_back: _Optional[str] = ..., scores_are_ratings: bool = ...) -> None: ...

class Item(_message.Message):
    __slots__ = ("item_id", "score", "title", "category")
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    score: float
    title: str
    category: str
    def __init__(self, item_id: _Optional[str] = ..., score: _Optional[float] = ..., title: _Optional[str] = ..., category: _Optional[str] = ...) -> None: ...

class Filter(_message.Message):
    __slots__ = ("categories", "exclude_item_ids")
    CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    categories: _containers.RepeatedScalarFieldContainer[str]
    exclude_item_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, categories: _Optional[_Iterable[str]] = ..., exclude_item_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class RecommendRequest(_message.Message):
    __slots__ = ("user_id", "top_k", "filter", "context_item_ids", "include_known")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_KNOWN_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    top_k: int
    filter: Filter
    context_item_ids: _containers.RepeatedScalarFieldContainer[str]
    include_known: bool
    def __init__(self, user_id: _Optional[str] = ..., top_k: _Optional[int] = ..., filter: _Optional[_Union[Filter, _Mapping]] = ..., context_item_ids: _Optional[_Iterable[str]] = ..., include_known: bool = ...) -> None: ...

class RecommendReply(_message.Message):
    __slots__ = ("basis", "items")
    BASIS_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    basis: Basis
    items: _containers.RepeatedCompositeFieldContainer[Item]
    def __init__(self, basis: _Optional[_Union[Basis, _Mapping]] = ..., items: _Optional[_Iterable[_Union[Item, _Mapping]]] = ...) -> None: ...

class SimilarItemsRequest(_message.Message):
    __slots__ = ("item_id", "top_k", "filter")
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    top_k: int
    filter: Filter
    def __init__(self, item_id: _Optional[str] = ..., top_k: _Optional[int] = ..., filter: _Optional[_Union[Filter, _Mapping]] = ...) -> None: ...

class SimilarItemsReply(_message.Message):
    __slots__ = ("basis", "items")
    BASIS_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    basis: Basis
    items: _containers.RepeatedCompositeFieldContainer[Item]
    def __init__(self, basis: _Optional[_Union[Basis, _Mapping]] = ..., items: _Optional[_Iterable[_Union[Item, _Mapping]]] = ...) -> None: ...

class BundleRequest(_message.Message):
    __slots__ = ("item_ids", "size", "filter")
    ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    item_ids: _containers.RepeatedScalarFieldContainer[str]
    size: int
    filter: Filter
    def __init__(self, item_ids: _Optional[_Iterable[str]] = ..., size: _Optional[int] = ..., filter: _Optional[_Union[Filter, _Mapping]] = ...) -> None: ...

class BundleReply(_message.Message):
    __slots__ = ("basis", "items")
    BASIS_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    basis: Basis
    items: _containers.RepeatedCompositeFieldContainer[Item]
    def __init__(self, basis: _Optional[_Union[Basis, _Mapping]] = ..., items: _Optional[_Iterable[_Union[Item, _Mapping]]] = ...) -> None: ...

class SearchRequest(_message.Message):
    __slots__ = ("query", "top_k", "filter")
    QUERY_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    query: str
    top_k: int
    filter: Filter
    def __init__(self, query: _Optional[str] = ..., top_k: _Optional[int] = ..., filter: _Optional[_Union[Filter, _Mapping]] = ...) -> None: ...

class SearchReply(_message.Message):
    __slots__ = ("basis", "items")
    BASIS_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    basis: Basis
    items: _containers.RepeatedCompositeFieldContainer[Item]
    def __init__(self, basis: _Optional[_Union[Basis, _Mapping]] = ..., items: _Optional[_Iterable[_Union[Item, _Mapping]]] = ...) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("user_id", "item_id", "context_item_ids")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    item_id: str
    context_item_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, user_id: _Optional[str] = ..., item_id: _Optional[str] = ..., context_item_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class Contribution(_message.Message):
    __slots__ = ("item_id", "amount", "title")
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    amount: float
    title: str
    def __init__(self, item_id: _Optional[str] = ..., amount: _Optional[float] = ..., title: _Optional[str] = ...) -> None: ...

class ExplainReply(_message.Message):
    __slots__ = ("basis", "score", "base", "contributions", "attribution")
    BASIS_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTIONS_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    basis: Basis
    score: float
    base: float
    contributions: _containers.RepeatedCompositeFieldContainer[Contribution]
    attribution: Attribution
    def __init__(self, basis: _Optional[_Union[Basis, _Mapping]] = ..., score: _Optional[float] = ..., base: _Optional[float] = ..., contributions: _Optional[_Iterable[_Union[Contribution, _Mapping]]] = ..., attribution: _Optional[_Union[Attribution, str]] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("event_id", "user_id", "item_id", "time", "rating")
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    RATING_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    user_id: str
    item_id: str
    time: _timestamp_pb2.Timestamp
    rating: float
    def __init__(self, event_id: _Optional[str] = ..., user_id: _Optional[str] = ..., item_id: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., rating: _Optional[float] = ...) -> None: ...

class RecordEventsRequest(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[Event]
    def __init__(self, events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ...) -> None: ...

class RefusedEvent(_message.Message):
    __slots__ = ("index", "event_id", "field", "reason")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    index: int
    event_id: str
    field: str
    reason: str
    def __init__(self, index: _Optional[int] = ..., event_id: _Optional[str] = ..., field: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class RecordEventsReply(_message.Message):
    __slots__ = ("recorded", "repeated", "refused")
    RECORDED_FIELD_NUMBER: _ClassVar[int]
    REPEATED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    recorded: int
    repeated: int
    refused: _containers.RepeatedCompositeFieldContainer[RefusedEvent]
    def __init__(self, recorded: _Optional[int] = ..., repeated: _Optional[int] = ..., refused: _Optional[_Iterable[_Union[RefusedEvent, _Mapping]]] = ...) -> None: ...

class ProfileRequest(_message.Message):
    __slots__ = ("user_id",)
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    def __init__(self, user_id: _Optional[str] = ...) -> None: ...

class KnownItem(_message.Message):
    __slots__ = ("item_id", "title", "category", "in_log", "recorded")
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    IN_LOG_FIELD_NUMBER: _ClassVar[int]
    RECORDED_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    title: str
    category: str
    in_log: bool
    recorded: bool
    def __init__(self, item_id: _Optional[str] = ..., title: _Optional[str] = ..., category: _Optional[str] = ..., in_log: bool = ..., recorded: bool = ...) -> None: ...

class CategoryShare(_message.Message):
    __slots__ = ("category", "share")
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    category: str
    share: float
    def __init__(self, category: _Optional[str] = ..., share: _Optional[float] = ...) -> None: ...

class ProfileReply(_message.Message):
    __slots__ = ("basis", "items", "categories")
    BASIS_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    basis: Basis
    items: _containers.RepeatedCompositeFieldContainer[KnownItem]
    categories: _containers.RepeatedCompositeFieldContainer[CategoryShare]
    def __init__(self, basis: _Optional[_Union[Basis, _Mapping]] = ..., items: _Optional[_Iterable[_Union[KnownItem, _Mapping]]] = ..., categories: _Optional[_Iterable[_Union[CategoryShare, _Mapping]]] = ...) -> None: ...
