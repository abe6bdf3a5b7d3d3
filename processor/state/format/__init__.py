"""Every byte format of person state, with its version number.

What is written here is read by later versions: a format changes only together with its number, and
within a format fields are only added at the end, with a default. Integers are big-endian.

| What | Where | Bytes |
|---|---|---|
| person value | value in changelog and local store | format `03`, then MessagePack (`person`) |
| fact | in a person value | MessagePack array, see below (`fact`) |
| score history entry | in a person value | 49 bytes, see below (`score_history`) |
| changelog key | key in the changelog | the person key, `namespace|id`; a null value erases it |
| store key | key in the database of a partition | the person key, if long with a digest (`store`) |
| position | database `meta`, key: partition in ASCII | MessagePack `[next offset, epoch ms]` |
| origin | database `meta`, key `origin` | JSON: topic, cluster, topic_id, format 1 (`store`) |
| note | file `note.json` beside the store | JSON: boot, closed, barren_starts (`store`) |

A person value is `[[fact, ...], {model: entries}, cut, weight]` (`state.person.Person`). Facts and
histories are MessagePack binaries; a history is its entries one after the other. A person key of
480 bytes and more is stored as its first 448 bytes and its SHA-256.

| Fact: byte | What |
|---|---|
| 0 | array header: `90` + number of fields, 15 at most |
| 1 | `cf`: an unsigned integer of 64 bits follows |
| 2-9 | time, epoch ms; at least 2**32, else MessagePack would use fewer bytes |
| 10 | header of the id, a string: `a0` + length below 32, `d9` or `da` |
| then | for `d9` one byte of length, for `da` two; the id in UTF-8 |
| then | the other fields of `domain.event.Fact`; trailing defaults are left out |

| Entry: byte | What |
|---|---|
| 0-7 | score date, epoch ms + 2**63, so that dates before 1970 sort first |
| 8-15 | Kafka's time of the score's record, epoch ms; 0 unknown |
| 16-23 | offset of the score's record + 1; 0 unknown |
| 24-31 | first 64 bits of the event's `_id` |
| 32-39 | first 64 bits of the digest of the score's content |
| 40-47 | score, IEEE 754 double |
| 48 | bucket: 0 low, 1 medium, 2 high |

In format `02` an entry has 41 bytes: date, `_id`, digest, score, bucket, time; in format `01` the
first 33 of them.

The repartition message is no state; its format is in `codec.repartition_message`.
"""
