"""Where a producer puts a key: murmur2, as Java clients have it, and CRC-32, as librdkafka has it.

Sources: Kafka, `Utils.murmur2` and `BuiltInPartitioner.partitionForKey`; librdkafka, `rd_murmur2`
and the partitioner `consistent`.
"""

from collections.abc import Callable
from zlib import crc32

_SEED = 0x9747B28C
_FACTOR = 0x5BD1E995
_WORD = 0xFFFFFFFF
_POSITIVE = 0x7FFFFFFF


def murmur2(key: bytes) -> int:
    """Return the 32-bit MurmurHash2 of a key, unsigned."""
    size, found = len(key), _SEED ^ len(key)
    whole = size & ~3
    for at in range(0, whole, 4):
        word = int.from_bytes(key[at : at + 4], "little") * _FACTOR & _WORD
        word = (word ^ word >> 24) * _FACTOR & _WORD
        found = found * _FACTOR & _WORD ^ word
    if whole < size:
        found = (found ^ int.from_bytes(key[whole:], "little")) * _FACTOR & _WORD
    found = (found ^ found >> 13) * _FACTOR & _WORD
    return found ^ found >> 15


PARTITIONERS: dict[str, Callable[[bytes, int], int]] = {
    "murmur2": lambda key, count: (murmur2(key) & _POSITIVE) % count,
    "crc32": lambda key, count: crc32(key) % count,
}
"""By name: the number of the partition, of so many, on which a key belongs."""
