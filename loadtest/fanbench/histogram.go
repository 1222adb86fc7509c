package main

import "math/bits"

const (
	subBits    = 6 // 64 buckets per power of two: a quantile is at most 1.6 % too high
	subBuckets = 1 << subBits
)

// histogram counts durations in nanoseconds, in buckets that grow with them.
type histogram struct {
	counts [64 * subBuckets]int64
	total  int64
	max    int64
}

func bucketOf(value int64) int {
	if value < subBuckets {
		return int(max(value, 0))
	}
	shift := bits.Len64(uint64(value)) - subBits - 1
	return (shift+1)<<subBits + int(value>>shift) - subBuckets
}

// bucketTop is the largest value that falls into the bucket.
func bucketTop(bucket int) int64 {
	if bucket < subBuckets {
		return int64(bucket)
	}
	shift := bucket>>subBits - 1
	return (int64(bucket&(subBuckets-1))+subBuckets+1)<<shift - 1
}

func (h *histogram) add(value int64) {
	h.counts[bucketOf(value)]++
	h.total++
	h.max = max(h.max, value)
}

// quantile is the value that a share of all values does not exceed; 0 where there are none.
func (h *histogram) quantile(share float64) int64 {
	rank := int64(share * float64(h.total))
	var seen int64
	for bucket, count := range h.counts {
		seen += count
		if count > 0 && seen >= rank {
			return min(bucketTop(bucket), h.max)
		}
	}
	return h.max
}
