import { isSnapshotId, isVolumeId } from './ids.ts';

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
/** As far as a reference takes it for the beginning of an id. */
const LIKE_AN_ID = /^(?:vol|snap)-[0-9a-f]+$/i;

/** What the name of a volume, a snapshot or a gateway may be, as a hint. */
export const NAME_HINT =
  'A name has 1 to 128 letters, digits, dots, underscores and hyphens, a letter or digit first, and does not look like an id (vol-0123).';

/** What is wrong with a name, as the end of a sentence that begins with it; undefined when nothing is. */
export function problemOfName(name: string): string | undefined {
  if (name === '') return 'is empty';
  if (name.length > 128) return 'is longer than 128 characters';
  if (isVolumeId(name) || isSnapshotId(name) || LIKE_AN_ID.test(name)) return 'looks like an id';
  if (NAME.test(name)) return undefined;
  if (/^[._-]/.test(name)) return 'does not begin with a letter or digit';
  return 'holds characters that names do not have';
}

/** A host's name as the name of a gateway: its first label, or `gateway` when that can be no name. */
export function gatewayNameOfHost(hostName: string): string {
  const label = hostName.split('.')[0] ?? '';
  return problemOfName(label) === undefined ? label : 'gateway';
}
