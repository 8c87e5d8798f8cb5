/** `store copy`: where from and where to, what it asks, and how its result looks. */
import { Flags, type Interfaces } from '@oclif/core';
import { formatSize, printable, SgwError } from '../kit/index.ts';
import type { Input, StoreCopyDocument } from '../localapi/index.ts';
import type { Session } from './session.ts';
import { storeLocation } from './store-location.ts';
import type { Style } from './style.ts';
import { formatDuration, formatTime, plural, renderFields, withRemarks } from './tables.ts';

type Side = 'from' | 'to';
type PlaceFlags<S extends Side> = Record<`${S}-endpoint` | `${S}-region`, Interfaces.OptionFlag<string | undefined>> &
  Record<`${S}-path-style`, Interfaces.BooleanFlag<boolean>>;

/** Objects that are shown. */
const SHOWN_MAX = 20;

/** What belongs to a place in a bucket. */
export const placeFlags = <S extends Side>(side: S, name: string): PlaceFlags<S> =>
  ({
    [`${side}-endpoint`]: Flags.string({
      description: `Base URL of the S3 server of ${name}. [default: AWS]`,
      helpValue: 'URL',
    }),
    [`${side}-region`]: Flags.string({
      description: `Region of the bucket of ${name}. [default: that of the profile]`,
      helpValue: 'REGION',
    }),
    [`${side}-path-style`]: Flags.boolean({ description: `Name the bucket of ${name} in the path, not in the host.` }),
  }) as unknown as PlaceFlags<S>;

type PlaceValues = Readonly<Partial<Record<`${Side}-endpoint` | `${Side}-region`, string | undefined>>> &
  Readonly<Partial<Record<`${Side}-path-style`, boolean>>>;

/** A place as the gateway needs it. @throws invalid `flag-alone` for flags of a bucket without one */
export function placeOf(place: string, side: Side, flags: PlaceValues): string {
  const location = storeLocation(
    {
      store: place,
      'store-endpoint': flags[`${side}-endpoint`],
      'store-region': flags[`${side}-region`],
      'path-style': flags[`${side}-path-style`] ?? false,
    },
    (flag) => `--${side}-${flag.replace(/^--(?:store-)?/, '')}`,
  );
  return location ?? place;
}

/** Copies; where gateways have volumes open, asks whether to do it all the same. */
export async function copyUnlessHeld(
  session: Session,
  input: Input<'store.copy'>,
  timeoutMs: number | undefined,
): Promise<StoreCopyDocument> {
  try {
    return await session.call('store.copy', input, { timeoutMs });
  } catch (error) {
    if (!(error instanceof SgwError) || error.code !== 'volumes-held' || !session.prompts.isInteractive) throw error;
    await session.prompts.confirm({
      message: `${error.message}. Copy what is in the store at this moment all the same?`,
      flag: '--yes',
    });
  }
  return await session.call('store.copy', { ...input, allowHeld: true }, { timeoutMs });
}

const STATES = { finished: 'finished', unfinished: 'not finished', compared: 'compared' } as const;

/** What was copied, or compared. */
export function storeCopyText(result: StoreCopyDocument, style: Style): string {
  const { state, damage } = result;
  const isWell = damage.length === 0;
  const written = `${formatSize(result.copiedBytes)} in ${plural(result.copiedObjects, 'object')}`;
  const fields = renderFields(
    [
      ['from', result.from],
      ['to', result.to],
      ['store', result.storeId],
      state === 'compared'
        ? ['result', isWell ? 'the same' : 'different', isWell ? style.green : style.red]
        : ['copy', STATES[state], state === 'finished' ? style.green : style.yellow],
      ['as of', `${formatTime(result.asOf)} UTC`],
      ['holds', `${formatSize(result.bytes)} in ${plural(result.objects, 'object')}`],
      ['copied now', state === 'compared' ? null : `${written}${result.resumed ? ', the rest before' : ''}`],
      ['removed', result.removedObjects === 0 ? null : plural(result.removedObjects, 'object')],
      ['took', formatDuration(result.durationMs)],
    ],
    style,
  );
  const shown = damage.slice(0, SHOWN_MAX).map(({ key, message }) => `  ${printable(key)}: ${printable(message)}`);
  const more = damage.length > SHOWN_MAX ? [`  and ${String(damage.length - SHOWN_MAX)} more: --json lists them`] : [];
  return withRemarks([fields, ...shown, ...more].join('\n'), result.remarks, style);
}
