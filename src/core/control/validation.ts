/**
 * Checks what callers hand in, once, before any work: names, sizes, tags, tokens, paths. Whatever the transport, the
 * gateway behind it may rely on these.
 */
import { cut, NAME_HINT, problemOfName, quoted, SgwError, type ErrorDetails } from '../kit/index.ts';
import { checkVolumeSize } from '../blockstore/index.ts';
import type { GatewayMode, ImageFormat, PriceTableName, Tags } from '../localapi/index.ts';

/** Names, ids and beginnings of ids. */
const REFERENCE = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
const ACCOUNT_ID = /^\d{12}$/;
const TOKEN = /^[\x21-\x7e]{1,64}$/;
const REGION = /^[a-z0-9][a-z0-9-]{0,62}$/;
/** As long as anything can be that names something. */
const REFERENCE_LENGTH_MAX = 128;
const DESCRIPTION_CHARACTERS_MAX = 1024;
const TAGS_MAX = 50;
const TAG_KEY_CHARACTERS_MAX = 128;
const TAG_VALUE_CHARACTERS_MAX = 256;
const FORMATS: readonly ImageFormat[] = ['raw', 'qcow2', 'vmdk', 'vhdx', 'vdi'];
const MODES: readonly GatewayMode[] = ['cached', 'shadowing'];
const PRICE_TABLES: readonly PriceTableName[] = ['aws', 'b2', 'gcs', 'own', 'r2'];

function invalid(code: string, message: string, hint: string, details: ErrorDetails = {}): SgwError {
  return new SgwError('invalid', code, message, { hint, details });
}

/** A value as callers gave it, for a message: in quotes, and cut. */
const echo = (value: unknown): string => quoted(String(value));
/** The same for the details. */
const brief = (value: unknown): string => cut(String(value), REFERENCE_LENGTH_MAX);

/** A name for `what`. @throws invalid `bad-name` */
export function checkName(name: unknown, what: string): void {
  const problem = typeof name === 'string' ? problemOfName(name) : 'is no text';
  if (problem === undefined) return;
  throw invalid('bad-name', `the name ${echo(name)} for a ${what} ${problem}`, NAME_HINT, { name: brief(name) });
}

/** A reference to a volume or snapshot; whether it exists is found later. @throws invalid `bad-reference` */
export function checkRef(ref: unknown, what: string): void {
  if (typeof ref === 'string' && REFERENCE.test(ref)) return;
  throw invalid(
    'bad-reference',
    `${echo(ref)} is neither the name nor the id of a ${what}`,
    `\`sgw ${what} list\` shows names and ids.`,
    { ref: brief(ref) },
  );
}

/** @throws invalid `bad-account-id` */
export function checkAccountId(accountId: unknown): void {
  if (typeof accountId === 'string' && ACCOUNT_ID.test(accountId)) return;
  throw invalid('bad-account-id', `${echo(accountId)} is not an account`, 'An account id has 12 digits.', {
    accountId: brief(accountId),
  });
}

/** @throws invalid `bad-grace` */
export function checkGrace(graceMs: unknown): void {
  if (graceMs === undefined || (Number.isSafeInteger(graceMs) && (graceMs as number) >= 0)) return;
  throw invalid(
    'bad-grace',
    `${echo(graceMs)} is not a grace period`,
    'Give a whole number of milliseconds, 0 or more.',
  );
}

/** Bytes a second. @throws invalid `bad-rate` */
export function checkRate(rateBytes: unknown): void {
  if (Number.isSafeInteger(rateBytes) && (rateBytes as number) > 0) return;
  throw invalid('bad-rate', `${echo(rateBytes)} is no rate`, 'Give a whole number of bytes a second, above 0.');
}

/** A time in text, which the gateway reads. @throws invalid `bad-time` */
export function checkTime(time: unknown): void {
  if (typeof time === 'string' && time.length <= 64) return;
  throw invalid('bad-time', `${echo(time)} is not a time`, 'Write it as 2026-11-25T08:30:00Z.');
}

/** @throws invalid `bad-log-question` */
export function checkLogQuestion({ lines, after }: { readonly lines?: unknown; readonly after?: unknown }): void {
  const isCount = (value: unknown): boolean =>
    value === undefined || (Number.isSafeInteger(value) && (value as number) >= 0);
  if (isCount(lines) && isCount(after)) return;
  throw invalid(
    'bad-log-question',
    'lines and after are whole numbers, 0 or more',
    'Give `after` as an answer gave `next`.',
  );
}

/** @throws invalid `bad-timeout` */
export function checkTimeout(timeoutMs: unknown): void {
  if (timeoutMs === undefined || (Number.isSafeInteger(timeoutMs) && (timeoutMs as number) >= 0)) return;
  throw invalid(
    'bad-timeout',
    `${echo(timeoutMs)} is not a timeout`,
    'Give a whole number of milliseconds, 0 or more.',
  );
}

/** @throws invalid `bad-volume-size` */
export function checkSize(sizeBytes: unknown): void {
  checkVolumeSize(typeof sizeBytes === 'number' ? sizeBytes : Number.NaN);
}

/** @throws invalid `bad-tags` */
export function checkTags(tags: Tags | undefined): void {
  const entries = Object.entries(tags ?? {});
  const fits = ([key, value]: readonly [string, unknown]): boolean =>
    key.length > 0 &&
    key.length <= TAG_KEY_CHARACTERS_MAX &&
    typeof value === 'string' &&
    value.length <= TAG_VALUE_CHARACTERS_MAX;
  if (entries.length > TAGS_MAX)
    throw invalid('bad-tags', `${String(entries.length)} tags are too many`, `Give at most ${String(TAGS_MAX)}.`);
  const bad = entries.find((entry) => !fits(entry));
  if (bad === undefined) return;
  throw invalid(
    'bad-tags',
    `tag ${echo(bad[0])} is not possible`,
    `A key has 1 to ${String(TAG_KEY_CHARACTERS_MAX)} characters, a value at most ${String(TAG_VALUE_CHARACTERS_MAX)}.`,
    { key: brief(bad[0]) },
  );
}

/** @throws invalid `bad-client-token` */
export function checkToken(token: unknown): void {
  if (token === undefined || (typeof token === 'string' && TOKEN.test(token))) return;
  throw invalid(
    'bad-client-token',
    'the client token is not usable',
    'Use 1 to 64 printable characters without spaces.',
  );
}

/** @throws invalid `bad-description` */
export function checkDescription(description: unknown): void {
  if (
    description === undefined ||
    (typeof description === 'string' && description.length <= DESCRIPTION_CHARACTERS_MAX)
  )
    return;
  throw invalid(
    'bad-description',
    'the description is too long',
    `Use at most ${String(DESCRIPTION_CHARACTERS_MAX)} characters.`,
  );
}

/** A path on this machine. @throws invalid `bad-path` */
export function checkPath(path: unknown, what: string): void {
  if (typeof path === 'string' && path.length > 0 && !path.includes('\0')) return;
  throw invalid('bad-path', `${echo(path)} is not the path of ${what}`, 'Give the path of a file.');
}

/** @throws invalid `bad-format` */
export function checkFormat(format: string | undefined): void {
  if (format === undefined || FORMATS.some((known) => known === format)) return;
  throw invalid('bad-format', `${echo(format)} is not an image format`, `Use one of ${FORMATS.join(', ')}.`);
}

/** @throws invalid `bad-choice` */
export function checkPrices(name: string | undefined): void {
  if (name === undefined || PRICE_TABLES.some((known) => known === name)) return;
  throw invalid('bad-choice', `there is no price table ${echo(name)}`, `Use one of ${PRICE_TABLES.join(', ')}.`);
}

/** @throws invalid `bad-mode` */
export function checkMode(mode: string): void {
  if (MODES.some((known) => known === mode)) return;
  throw invalid('bad-mode', `${echo(mode)} is not a mode of a gateway`, `Use one of ${MODES.join(', ')}.`);
}

/** @throws invalid `bad-region` */
export function checkRegion(region: string | undefined): void {
  if (region === undefined || REGION.test(region)) return;
  throw invalid(
    'bad-region',
    `${echo(region)} can not be a region`,
    'Use lower-case letters, digits and hyphens, such as local or eu-west-1.',
  );
}
