/**
 * Damage for people: which object, what is wrong with it, and who is hurt where. The facts come from the details of a
 * `corrupt` error, which a daemon of another version may have written: whatever has another shape is left out.
 */
import { formatSize, printable, type SgwError } from '../kit/index.ts';
import type { Style } from './style.ts';

/** What is shown before the rest is only counted. */
const OBJECTS_SHOWN_MAX = 20;
const EXTENTS_SHOWN_MAX = 5;

/** Lines below the message of a failure, of the damage that its details name; none for any other failure. */
export function damageLines(failure: SgwError, style: Style): string[] {
  if (failure.kind !== 'corrupt') return [];
  const details: Readonly<Record<string, unknown>> = failure.details;
  const objects = recordsIn(details['damage']);
  const extents = extentsIn(details['extents']);
  const lines = objects.slice(0, OBJECTS_SHOWN_MAX).flatMap((object) => objectLines(object, style));
  const hidden = objects.length - OBJECTS_SHOWN_MAX;
  if (hidden > 0) lines.push(`  and ${String(hidden)} more objects; --json lists all`);
  if (objects.length === 0 && extents.length > 0) lines.push(`  can not be read: ${extentsText(extents)}`);
  return [...lines, ...remarksIn(details['remarks']).map((remark) => `${style.yellow('note:')} ${printable(remark)}`)];
}

/** A scrub tells who is hurt; a verification, which knows that, tells only where. */
function objectLines(object: Fields, style: Style): string[] {
  const key = text(object['key']);
  const said = text(object['message']).replace(/^the (?=object )/, '');
  const own = `object ${key} `;
  const what = said.startsWith(own) ? ` ${said.slice(own.length)}` : `: ${said}`;
  const affects = recordsIn(object['affects']);
  const extents = extentsIn(object['extents']);
  const hurt = affects.map(hurtText);
  if (extents.length > 0) hurt.push(`can not be read: ${extentsText(extents)}`);
  if (hurt.length === 0) hurt.push('hurts nothing that is in use');
  return [`  ${style.bold(key)}${what}`, ...hurt.map((line) => `    ${line}`)];
}

function hurtText(one: Fields): string {
  const kind = text(one['kind']);
  const extents = extentsIn(one['extents']);
  if (kind === 'store') return 'hurts the store as a whole';
  const what = extents.length === 0 ? 'all of it' : extentsText(extents);
  return `hurts ${kind} ${text(one['name'])} (${text(one['id'])}): ${what}`;
}

interface Span {
  readonly offset: number;
  readonly length: number;
}

/** `12 KiB in 2 extents: 8 KiB at 4096, 4 KiB at 1048576`. */
function extentsText(extents: readonly Span[]): string {
  const totalBytes = extents.reduce((sum, extent) => sum + extent.length, 0);
  const shown = extents
    .slice(0, EXTENTS_SHOWN_MAX)
    .map((extent) => `${formatSize(extent.length)} at ${String(extent.offset)}`);
  const hidden = extents.length - EXTENTS_SHOWN_MAX;
  const places = `${shown.join(', ')}${hidden > 0 ? ` and ${String(hidden)} more` : ''}`;
  return extents.length === 1 ? places : `${formatSize(totalBytes)} in ${String(extents.length)} extents: ${places}`;
}

type Fields = Readonly<Record<string, unknown>>;

const recordsIn = (value: unknown): Fields[] =>
  Array.isArray(value) ? value.filter((one): one is Fields => typeof one === 'object' && one !== null) : [];

const remarksIn = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((one): one is string => typeof one === 'string') : [];

const extentsIn = (value: unknown): Span[] =>
  recordsIn(value).filter(
    (one): one is Fields & Span => typeof one['offset'] === 'number' && typeof one['length'] === 'number',
  );

const text = (value: unknown): string => (typeof value === 'string' ? printable(value) : '?');
