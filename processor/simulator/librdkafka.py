"""The C functions of librdkafka's mock cluster, which is in the confluent-kafka wheel.

librdkafka declares its mock API experimental, without a stable ABI: `open_library` checks every
function and reports which one is missing.
"""

import ctypes
import ctypes.util
from ctypes import POINTER, c_char_p, c_int, c_int16, c_int32, c_int64, c_size_t, c_void_p
from itertools import chain
from pathlib import Path

import confluent_kafka

from processor.domain.errors import UnavailableError

_FUNCTIONS: dict[str, tuple[object, tuple[object, ...]]] = {
    "rd_kafka_conf_new": (c_void_p, ()),
    "rd_kafka_conf_set": (c_int, (c_void_p, c_char_p, c_char_p, c_char_p, c_size_t)),
    "rd_kafka_new": (c_void_p, (c_int, c_void_p, c_char_p, c_size_t)),
    "rd_kafka_destroy": (None, (c_void_p,)),
    "rd_kafka_err2str": (c_char_p, (c_int,)),
    "rd_kafka_mock_cluster_new": (c_void_p, (c_void_p, c_int)),
    "rd_kafka_mock_cluster_destroy": (None, (c_void_p,)),
    "rd_kafka_mock_cluster_bootstraps": (c_char_p, (c_void_p,)),
    "rd_kafka_mock_topic_create": (c_int, (c_void_p, c_char_p, c_int, c_int)),
    "rd_kafka_mock_topic_delete": (c_int, (c_void_p, c_char_p)),
    "rd_kafka_mock_topic_set_error": (None, (c_void_p, c_char_p, c_int)),
    "rd_kafka_mock_partition_set_leader": (c_int, (c_void_p, c_char_p, c_int32, c_int32)),
    "rd_kafka_mock_partition_delete_records": (c_int, (c_void_p, c_char_p, c_int32, c_int64)),
    "rd_kafka_mock_broker_set_down": (c_int, (c_void_p, c_int32)),
    "rd_kafka_mock_broker_set_up": (c_int, (c_void_p, c_int32)),
    "rd_kafka_mock_broker_set_rtt": (c_int, (c_void_p, c_int32, c_int)),
    "rd_kafka_mock_coordinator_set": (c_int, (c_void_p, c_char_p, c_char_p, c_int32)),
    "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, (c_void_p, c_int32)),
    "rd_kafka_mock_push_request_errors_array": (
        None,
        (c_void_p, c_int16, c_size_t, POINTER(c_int)),
    ),
    "rd_kafka_mock_clear_request_errors": (None, (c_void_p, c_int16)),
    "rd_kafka_mock_start_request_tracking": (None, (c_void_p,)),
    "rd_kafka_mock_clear_requests": (None, (c_void_p,)),
    "rd_kafka_mock_get_requests": (POINTER(c_void_p), (c_void_p, POINTER(c_size_t))),
    "rd_kafka_mock_request_id": (c_int32, (c_void_p,)),
    "rd_kafka_mock_request_api_key": (c_int16, (c_void_p,)),
    "rd_kafka_mock_request_destroy_array": (None, (POINTER(c_void_p), c_size_t)),
}


def open_library() -> ctypes.CDLL:
    """Return librdkafka with its mock functions typed.

    Raises `UnavailableError` if the library is not found or lacks a function.
    """
    library = _load()
    missing = [name for name in _FUNCTIONS if not hasattr(library, name)]
    if missing:
        detail = f"librdkafka {confluent_kafka.libversion()[0]} lacks {', '.join(missing)}"
        raise UnavailableError(
            "embedded broker", f"{detail}; use the wheel of confluent-kafka 2.16"
        )
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
    return library


def _load() -> ctypes.CDLL:
    package = Path(confluent_kafka.__file__).parent
    bundled = chain(
        package.parent.glob("confluent_kafka.libs/librdkafka*.so*"),
        package.glob(".dylibs/librdkafka*.dylib"),
    )
    path = next(map(str, bundled), None) or ctypes.util.find_library("rdkafka")
    if path is None:
        detail = f"no librdkafka beside {package.name} or on the system"
        raise UnavailableError("embedded broker", detail)
    try:
        return ctypes.CDLL(path)
    except OSError as error:
        raise UnavailableError("embedded broker", f"{Path(path).name}: {error}") from error
