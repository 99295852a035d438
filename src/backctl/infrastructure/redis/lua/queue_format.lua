-- What the write-behind queue stores. A waiting update is a field WRITER:KEY of a hash, whose field `state` has the
-- identity and the last position of the queue, and an entry in the stream of its writer, with the name of the field.
-- The id of the entry is its place in the line. An entry that a worker has taken is pending in the group of the stream.
-- One that is to be retried is in a sorted set instead, by the time when it is due. A second sorted set has the entries
-- that are not in the order in which they were queued, by that time.

local FREE, LARGEST = '\0\0\0\0\0\0\0\0', 2 ^ 53
local STATE, STATE_SIZE = '>c32i8', 40
-- The format; the position; when it was queued and replaced; the id of its entry; attempts; the receipt.
local HEADER, HEADER_SIZE = '>Bi8i8i8i8i8i4c8', 53
