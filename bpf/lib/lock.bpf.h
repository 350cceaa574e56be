/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * One flow at a time: the packets of a flow run on several CPUs at once, the two directions always may.
 *
 * bpf_spin_lock allows no helper call while it is held, and what we do under the lock is mostly helpers. So: a compare-and-swap on one of many words,
 * chosen by the flow's hash; words live in a map of their own, because a flow's entry may be recycled while somebody waits for it. A holder runs in
 * softirq and does not sleep, so the wait is short; it is bounded all the same, and a packet that waited in vain is dropped and counted: the sender
 * sends it again.
 */
#ifndef SHUNT_LOCK_BPF_H
#define SHUNT_LOCK_BPF_H

#include "lib/count.bpf.h"

#define LOCK_SPINS 20000

struct lock_wait {
	struct shunt_lock *lock;
	__u32 taken;
};

static __always_inline bool lock_try(struct shunt_lock *lock)
{
	return __sync_val_compare_and_swap(&lock->held, 0, 1) == 0;
}

static long lock_spin(__u32 i, struct lock_wait *wait)
{
	if (*(volatile __u32 *)&wait->lock->held || !lock_try(wait->lock))
		return 0;
	wait->taken = 1;
	return 1;
}

static __always_inline __u32 lock_index(const struct shunt_flow_key *key)
{
	__u32 hash = ((const __u32 *)key->client.ip)[3] ^ ((const __u32 *)key->client.ip)[1];

	hash = (hash ^ (__u32)key->cport * 0x9e3779b1u) * 0x85ebca6bu;
	return hash >> 18; /* 14 bits */
}
_Static_assert(SHUNT_LOCKS == 1 << 14, "lock_index() gives 14 bits");

/* NULL: not taken in time. */
static __always_inline struct shunt_lock *lock_take(const struct shunt_flow_key *key)
{
	__u32 index = lock_index(key);
	struct lock_wait wait = { .lock = bpf_map_lookup_elem(&shunt_lock, &index) };

	if (!wait.lock)
		return NULL;
	if (likely(lock_try(wait.lock)))
		return wait.lock;
	bpf_loop(LOCK_SPINS, lock_spin, &wait, 0);
	if (wait.taken)
		return wait.lock;
	reason_count(SHUNT_R_LOCK_TIMEOUT);
	return NULL;
}

static __always_inline void lock_release(struct shunt_lock *lock)
{
	__sync_lock_test_and_set(&lock->held, 0);
}

#endif
