"""The partition of a key: murmur2, as Java clients compute it, and CRC-32, as librdkafka does.

Sources: Kafka, `Utils.murmur2` and `BuiltInPartitioner.partitionForKey`; librdkafka, `rd_murmur2`
and the partitioner `consistent`.
"""

from collections.abc import Callable
from zlib import crc32

_SEED = 0x9747B28C
_FACTOR = 0x5BD1E995
_UINT32 = 0xFFFFFFFF
_POSITIVE = 0x7FFFFFFF


def murmur2(key: bytes) -> int:
    """Return the 32-bit MurmurHash2 of a key, unsigned."""
    size, hashed = len(key), _SEED ^ len(key)
    whole = size & ~3  # the bytes that fill words of four
    for index in range(0, whole, 4):
        word = int.from_bytes(key[index : index + 4], "little") * _FACTOR & _UINT32
        word = (word ^ word >> 24) * _FACTOR & _UINT32
        hashed = hashed * _FACTOR & _UINT32 ^ word
    if whole < size:
        hashed = (hashed ^ int.from_bytes(key[whole:], "little")) * _FACTOR & _UINT32
    hashed = (hashed ^ hashed >> 13) * _FACTOR & _UINT32
    return hashed ^ hashed >> 15


# Java's hash is signed: its sign bit is cleared before the division, not negated.
PARTITIONERS: dict[str, Callable[[bytes, int], int]] = {
    "murmur2": lambda key, count: (murmur2(key) & _POSITIVE) % count,
    "crc32": lambda key, count: crc32(key) % count,
}
"""By name: the partition number of a key in a topic of `count` partitions."""
