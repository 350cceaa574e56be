/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Internet checksums (RFC 1071) and their incremental update (RFC 1624), on 32-bit words in network order. */
#ifndef SHUNT_CSUM_BPF_H
#define SHUNT_CSUM_BPF_H

#include "lib/base.bpf.h"

static __always_inline __wsum csum_plus(__wsum a, __wsum b)
{
	__u64 sum = (__u64)a + b;

	return (__u32)sum + (__u32)(sum >> 32);
}

/* What a sum gains when the word `from` becomes `to`. */
static __always_inline __wsum csum_change(__u32 from, __u32 to)
{
	return csum_plus(~from, to);
}

static __always_inline __u16 csum_fold16(__wsum sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static __always_inline __u32 addr_word(const struct shunt_addr *addr, int i)
{
	return ((const __u32 *)addr->ip)[i];
}

/* The first three words of a mapped IPv4 address are constant and cancel out, so this serves both families. */
static __always_inline __wsum csum_addr_change(const struct shunt_addr *from, const struct shunt_addr *to)
{
	__wsum sum = csum_change(addr_word(from, 3), addr_word(to, 3));

	sum = csum_plus(sum, csum_change(addr_word(from, 2), addr_word(to, 2)));
	sum = csum_plus(sum, csum_change(addr_word(from, 1), addr_word(to, 1)));
	return csum_plus(sum, csum_change(addr_word(from, 0), addr_word(to, 0)));
}

static __always_inline __wsum csum_addr(const struct shunt_addr *addr, __u8 family)
{
	__wsum sum = addr_word(addr, 3);

	if (family == SHUNT_V6) {
		sum = csum_plus(sum, addr_word(addr, 2));
		sum = csum_plus(sum, addr_word(addr, 1));
		sum = csum_plus(sum, addr_word(addr, 0));
	}
	return sum;
}

/* Pseudo header of TCP (RFC 9293 section 3.1, RFC 8200 section 8.1); len: header and payload. */
static __always_inline __wsum csum_pseudo(const struct shunt_addr *saddr, const struct shunt_addr *daddr, __u32 len, __u8 family)
{
	__wsum sum = csum_plus(csum_addr(saddr, family), csum_addr(daddr, family));

	return csum_plus(sum, bpf_htonl(len + IPPROTO_TCP));
}

/*
 * What the pseudo header's sum gains goes into a transport checksum. A NIC may have summed up the whole packet (skb->csum, CHECKSUM_COMPLETE), and the
 * helper takes the gain from that sum: right for IPv4, whose header sums up to nothing whatever its addresses; in IPv6 the header has gained as much.
 */
static __always_inline int csum_replace_pseudo(struct __sk_buff *skb, __u32 at, __wsum gain, __u8 family)
{
	int err = bpf_l4_csum_replace(skb, at, 0, gain, BPF_F_PSEUDO_HDR);

	if (family == SHUNT_V6)
		bpf_csum_update(skb, gain); /* -ENOTSUPP: there is no such sum */
	return err;
}

#endif
