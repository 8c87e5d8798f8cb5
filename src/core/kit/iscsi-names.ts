/**
 * What names of iSCSI nodes, users of CHAP and their secrets may be (RFC 7143, 4.2.7 and 12.1.3; RFC 3722). Checked where they are
 * typed, before anything is asked for or made, and where calls come in. A secret is in no message and no detail.
 */
import { cut, quoted } from './echo.ts';
import { SgwError } from './errors.ts';

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

const TARGET_NAME_HINT = `A name of a target is like iqn.2026-11.org.example:disk-1: a date, a domain, and letters, digits, dots, colons and hyphens, ${String(NAME_BYTES_MAX)} at most.`;
const INITIATOR_NAME_HINT =
  'A name of an initiator is like iqn.1993-08.org.debian:01:abcdef, eui. and 16 hex digits, or naa. and 16 or 32.';
const USER_HINT = 'A user of CHAP has 1 to 223 letters, digits, dots, colons, underscores and hyphens.';
const SECRET_HINT = `A secret has ${String(SECRET_BYTES_MIN)} to ${String(SECRET_BYTES_MAX)} bytes of printable text; Windows takes no more than ${String(SECRET_BYTES_COMMON_MAX)}.`;

const invalid = (code: string, message: string, hint: string): SgwError =>
  new SgwError('invalid', code, message, { hint });
const echo = (value: unknown): string =>
  quoted(typeof value === 'string' ? value : cut(JSON.stringify(value ?? null), 128));

/** Whether this is an iqn in lower case, as targets are named. */
export const isTargetName = (name: string): boolean => name.length <= NAME_BYTES_MAX && IQN.test(name);

const isInitiatorName = (name: string): boolean => name.length <= NAME_BYTES_MAX && INITIATOR.test(name);

/** The name of a target, in lower case. @throws invalid `bad-iscsi-name` */
export function checkTargetName(name: unknown): string {
  const lower = typeof name === 'string' ? name.toLowerCase() : '';
  if (isTargetName(lower)) return lower;
  throw invalid('bad-iscsi-name', `${echo(name)} can not be the name of a target`, TARGET_NAME_HINT);
}

/** The name of an initiator, in lower case. @throws invalid `bad-iscsi-name` */
export function checkInitiatorName(name: unknown): string {
  const lower = typeof name === 'string' ? name.toLowerCase() : '';
  if (isInitiatorName(lower)) return lower;
  throw invalid('bad-iscsi-name', `${echo(name)} can not be the name of an initiator`, INITIATOR_NAME_HINT);
}

/** @throws invalid `bad-chap-user` */
export function checkChapUser(user: unknown): string {
  if (typeof user === 'string' && USER.test(user)) return user;
  throw invalid('bad-chap-user', `${echo(user)} can not be a user of CHAP`, USER_HINT);
}

/** @throws invalid `bad-chap-secret` */
export function checkChapSecret(secret: unknown): string {
  const problem = typeof secret === 'string' ? problemOf(secret) : 'is missing';
  if (typeof secret === 'string' && problem === undefined) return secret;
  throw invalid('bad-chap-secret', `the secret of CHAP ${String(problem)}`, SECRET_HINT);
}

/** Who knew one direction's secret could answer for the other. @throws invalid `bad-chap-secret` */
export function checkChapDirections(ofInitiators: string, ofTarget: string): void {
  if (ofInitiators !== ofTarget) return;
  const hint = 'Take another one for the target.';
  throw invalid('bad-chap-secret', 'both directions of CHAP have the same secret', hint);
}

/** What is wrong with a secret, as the end of a sentence about it. */
function problemOf(secret: string): string | undefined {
  const bytes = Buffer.byteLength(secret);
  if (bytes < SECRET_BYTES_MIN) return `has ${String(bytes)} bytes, and needs ${String(SECRET_BYTES_MIN)}`;
  if (bytes > SECRET_BYTES_MAX) return `has ${String(bytes)} bytes, more than ${String(SECRET_BYTES_MAX)}`;
  if (/\p{Cc}/u.test(secret)) return 'holds characters that can not be typed';
  return undefined;
}

/** Whether all initiators take a secret of this length. */
export const isCommonChapSecret = (secret: string): boolean => Buffer.byteLength(secret) <= SECRET_BYTES_COMMON_MAX;
