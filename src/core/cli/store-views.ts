/** How the care of a store looks to people: gc, scrub, keys, and the recovery code that is shown once. */
import { formatSize, printable } from '../kit/index.ts';
import type { GcDocument, RekeyDocument, ScrubDocument } from '../localapi/index.ts';
import type { Style } from './style.ts';
import { formatDuration, formatTime, plural, renderFields, withRemarks } from './tables.ts';

interface Counted {
  readonly objects: number;
  readonly bytes: number;
}

/** What gc removed, or would remove. */
export function gcText(result: GcDocument, style: Style): string {
  const { roots, removed, waiting, rewritten, purgedVolumes } = result;
  const fields = renderFields(
    [
      ['store', result.store],
      ['kept for', rootsText(roots)],
      ['live', countedText(result.live)],
      [result.preview ? 'would remove' : 'removed', `${countedText(removed)}${tombstoneText(result)}`],
      ['waiting', waiting.objects === 0 ? 'nothing' : `${countedText(waiting)}${untilText(result.removableAt)}`],
      [
        result.preview ? 'would rewrite' : 'rewritten',
        rewritten.segments === 0 ? null : `${formatSize(rewritten.bytes)} of ${plural(rewritten.segments, 'segment')}`,
      ],
      [result.preview ? 'would purge' : 'purged', purgedVolumes.length === 0 ? null : purgedVolumes.join(', ')],
      ['grace period', formatDuration(result.graceMs)],
      ['took', formatDuration(result.durationMs)],
    ],
    style,
  );
  const remark = result.preview ? ['Nothing was changed.', ...result.remarks] : result.remarks;
  return withRemarks(fields, remark, style);
}

/** What a scrub that found no damage read. */
export function scrubText(result: ScrubDocument, style: Style): string {
  const fields = renderFields(
    [
      ['store', result.store],
      result.ok ? ['result', 'ok', style.green] : ['result', 'damaged', style.red],
      ['checked', `${formatSize(result.checkedBytes)} in ${plural(result.objects, 'object')}`],
      ['took', formatDuration(result.durationMs)],
    ],
    style,
  );
  return withRemarks(fields, result.remarks, style);
}

const SLOT_NAMES = { passphrase: 'a passphrase', keyFile: 'a key file', recovery: 'the recovery code' } as const;

/** What opens the store now. `codeFile` holds the recovery code when it is not to be shown. */
export function rekeyText(result: RekeyDocument, style: Style, codeFile: string | null): string {
  const fields = renderFields(
    [
      ['store', result.storeId],
      ['key', result.keyId],
      ...result.slots.map(
        ({ kind, createdAt }) => ['opened by', `${SLOT_NAMES[kind]}, set ${formatTime(createdAt)} UTC`] as const,
      ),
    ],
    style,
  );
  return `${fields}${recoveryCodeText(result.recoveryCode, style, codeFile)}`;
}

/** The recovery code, once, with what to do with it; where it is, when a file holds it; nothing when there is none. */
export function recoveryCodeText(code: string | null, style: Style, codeFile: string | null): string {
  if (codeFile !== null) return `\n\nThe recovery code is in ${printable(codeFile)}, readable by you alone.\n${ADVICE}`;
  if (code === null) return '';
  return `\n\nRecovery code, shown this once:\n\n    ${style.bold(printable(code))}\n\n${ADVICE}`;
}

const ADVICE = [
  'It opens the store when the passphrase or key file is lost. Nobody else can: without all of them the data is gone.',
  'Print it or write it down, keep it away from this machine and from the store, and show it to nobody.',
  'If others may have seen it, make a new one, which voids this: sgw store rekey --recovery-kit',
].join('\n');

function rootsText(roots: GcDocument['roots']): string {
  const counts: readonly (readonly [number, string])[] = [
    [roots.volumes, 'volume'],
    [roots.deletedVolumes, 'deleted volume'],
    [roots.snapshots, 'snapshot'],
    [roots.pins, 'pin'],
    [roots.restores, 'restore'],
  ];
  const present = counts.filter(([count]) => count > 0).map(([count, what]) => plural(count, what));
  return present.length === 0 ? 'nothing' : present.join(', ');
}

const countedText = ({ objects, bytes }: Counted): string =>
  objects === 0 ? 'nothing' : `${formatSize(bytes)} in ${plural(objects, 'object')}`;

const tombstoneText = ({ tombstones }: GcDocument): string =>
  tombstones === 0 ? '' : `, leaving ${plural(tombstones, 'empty tombstone')}`;

const untilText = (removableAt: string | null): string =>
  removableAt === null ? '' : `, the first until ${formatTime(removableAt)} UTC`;
