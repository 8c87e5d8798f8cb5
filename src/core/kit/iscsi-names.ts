/** What names of iSCSI nodes, users of CHAP and their secrets may be (RFC 7143, 4.2.7 and 12.1.3; RFC 3722). */

const NAME_BYTES_MAX = 223;
const IQN = /^iqn\.\d{4}-(?:0[1-9]|1[0-2])\.[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[a-z0-9.:-]+)?$/;
/** Windows makes names of those of machines, which may have what iqns may not. */
const INITIATOR =
  /^(?:iqn\.\d{4}-(?:0[1-9]|1[0-2])\.[a-z0-9][a-z0-9._:-]*|eui\.[0-9a-f]{16}|naa\.[0-9a-f]{16}(?:[0-9a-f]{16})?)$/;
/** Often the name of the initiator. */
const USER = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,222}$/;
const SECRET_BYTES_MIN = 12;
/** What fits in the text of one key. */
const SECRET_BYTES_MAX = 255;
/** Of Windows. */
const SECRET_BYTES_COMMON_MAX = 16;

export const TARGET_NAME_HINT = `A name of a target is like iqn.2026-11.org.example:disk-1: a date, a domain, and letters, digits, dots, colons and hyphens, ${String(NAME_BYTES_MAX)} at most.`;
export const INITIATOR_NAME_HINT =
  'A name of an initiator is like iqn.1993-08.org.debian:01:abcdef, eui. and 16 hex digits, or naa. and 16 or 32.';
export const CHAP_USER_HINT = 'A user of CHAP has 1 to 223 letters, digits, dots, colons, underscores and hyphens.';
export const CHAP_SECRET_HINT = `A secret has ${String(SECRET_BYTES_MIN)} to ${String(SECRET_BYTES_MAX)} bytes of printable text; Windows takes no more than ${String(SECRET_BYTES_COMMON_MAX)}.`;

/** Whether this is an iqn in lower case, as targets are named. */
export const isTargetName = (name: string): boolean => name.length <= NAME_BYTES_MAX && IQN.test(name);

/** Whether this names an initiator, in lower case. */
export const isInitiatorName = (name: string): boolean => name.length <= NAME_BYTES_MAX && INITIATOR.test(name);

export const isChapUser = (user: string): boolean => USER.test(user);

/** What is wrong with a secret, as the end of a sentence about it; undefined when nothing is. It is never told itself. */
export function problemOfChapSecret(secret: string): string | undefined {
  const bytes = Buffer.byteLength(secret);
  if (bytes < SECRET_BYTES_MIN) return `has ${String(bytes)} bytes, and needs ${String(SECRET_BYTES_MIN)}`;
  if (bytes > SECRET_BYTES_MAX) return `has ${String(bytes)} bytes, more than ${String(SECRET_BYTES_MAX)}`;
  if (/\p{Cc}/u.test(secret)) return 'holds characters that can not be typed';
  return undefined;
}

/** Whether all initiators take a secret of this length. */
export const isCommonChapSecret = (secret: string): boolean => Buffer.byteLength(secret) <= SECRET_BYTES_COMMON_MAX;
