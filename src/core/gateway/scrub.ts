/** Reading back everything that a store holds. */
import type { DamagedObject } from '../blockstore/scrub/index.ts';
import { SgwError } from '../kit/index.ts';
import type { CallContext, Input, ScrubDocument } from '../localapi/index.ts';
import { scrubStore as scrubObjects } from '../transfer/index.ts';
import { millisecondsSince, progressOf, type Session } from './session.ts';
import { accepting, type HomeWitness } from './witness.ts';

/** Objects that a message names. */
const NAMED_MAX = 3;

/**
 * Reads back everything in the store and checks it. With `acceptOlder`, what is there is taken for the newest from now on.
 * @throws corrupt `damage-found`, whose details carry `damage` as the document would, and `remarks`
 */
export async function scrubStore(
  session: Session,
  witness: HomeWitness,
  input: Input<'store.scrub'>,
  call: CallContext,
): Promise<ScrubDocument> {
  const startedMs = session.blocks.clock.monotonicMs();
  const acceptOlder = input.acceptOlder ?? false;
  const blocks = { ...session.blocks, witness: acceptOlder ? accepting(witness) : witness };
  await using pool = session.openPool();
  const report = await scrubObjects(blocks, {
    pool,
    signal: call.signal,
    onProgress: progressOf(call, 'scrubbing the store'),
  });
  if (acceptOlder) await forgetAbsent(session, witness, call.signal);
  const { objects, checkedBytes, damage, remarks } = report;
  if (damage.length > 0) throw damageFound(session, { objects, checkedBytes, damage, remarks });
  return {
    store: session.blocks.objects.description,
    ok: true,
    objects,
    checkedBytes,
    damage: [],
    remarks: [...remarks],
    durationMs: millisecondsSince(session, startedMs),
  };
}

/** What was seen once and is not there is taken for gone. */
async function forgetAbsent({ blocks }: Session, witness: HomeWitness, signal: AbortSignal): Promise<void> {
  for (const key of witness.known()) {
    // A volume's log goes with its entry.
    const document = key.replace(/\/log$/, '/volume.json');
    if ((await blocks.objects.head(document, { signal })) === undefined) witness.forget(key);
  }
}

interface Found {
  readonly objects: number;
  readonly checkedBytes: number;
  readonly damage: readonly DamagedObject[];
  readonly remarks: readonly string[];
}

function damageFound(session: Session, { objects, checkedBytes, damage, remarks }: Found): SgwError {
  const names = damage.slice(0, NAMED_MAX).map(({ key }) => key);
  const more = damage.length > NAMED_MAX ? ` and ${String(damage.length - NAMED_MAX)} more` : '';
  const hurt = new Set(damage.flatMap(({ affects }) => affects.map(({ id, name }) => (name === '?' ? id : name))));
  const whom = hurt.size === 0 ? 'no volume or snapshot needs them' : `hurt: ${listed([...hurt])}`;
  const store = session.blocks.objects.description;
  const objectsAre = damage.length === 1 ? '1 object is' : `${String(damage.length)} objects are`;
  return new SgwError(
    'corrupt',
    'damage-found',
    `${objectsAre} damaged or missing in ${store}: ${names.join(', ')}${more}; ${whom}`,
    {
      hint:
        'Put intact copies of the objects back, from a copy of the store; volumes and snapshots that are not named are whole. ' +
        'If an older state of the store was put back on purpose: sgw store scrub --accept-older',
      details: { store, objects, checkedBytes, damage, remarks },
    },
  );
}

const listed = (names: readonly string[]): string =>
  names.length > 2 * NAMED_MAX
    ? `${names.slice(0, 2 * NAMED_MAX).join(', ')} and ${String(names.length - 2 * NAMED_MAX)} more`
    : names.join(', ');
