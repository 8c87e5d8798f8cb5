/** A gateway that opens volumes for writing, one after the other, and competes for them with others. */
import {
  openVolumeWriter,
  pagesOf,
  type Holder,
  type PageExtent,
  type RecoveryPolicy,
  type VolumeWriter,
} from '../../../src/core/blockstore/index.ts';
import { ACCOUNTS, batchOf, changed, contentName, describeState, resized, type DiskState } from '../disk-state.ts';
import { hold, type Tenure, type VolumeLedger } from '../volume-ledger.ts';
import { attempt, liveVolumes, pause, type Actor, type SimSettings } from './actor.ts';
import { readPages } from './read-view.ts';

export interface WriterRole {
  readonly holder: Holder;
  readonly account: number;
}

const PAGES = [0, 1, 2, 15, 16, 17, 1023, 1024, 1025, 2050, 3000];
export const SIZES = [1, 2, 17, 1024, 1026, 2051, 3001].flatMap((pages) =>
  [0, 0, 100, 2048].map((rest) => pages * 4096 + rest),
);

export async function writerProcess(actor: Actor, role: WriterRole): Promise<void> {
  while (!actor.closing()) {
    const volumes = liveVolumes(actor);
    if (volumes.length > 0) await useVolume(actor, role, actor.choices.pick(volumes));
    await pause(actor);
  }
}

/** Thins within a run. */
const recoveryPolicy = ({ graceMs }: SimSettings): RecoveryPolicy => ({
  allForMs: graceMs,
  allMax: 2,
  tiers: [{ periodMs: 2 * graceMs, forMs: 4 * graceMs }],
});

async function useVolume(actor: Actor, role: WriterRole, ledger: VolumeLedger): Promise<void> {
  const { volumeId } = ledger;
  let writer: VolumeWriter | undefined;
  const takeOver = actor.choices.chance(0.5);
  const before = actor.auditor.head(volumeId);
  // Whoever was fenced, or whose volume was deleted meanwhile, may be told so in other words.
  const excused = (): boolean =>
    (actor.auditor.head(volumeId)?.epoch ?? 0) > (before?.epoch ?? 0) + 1 || ledger.deletion !== 'none';
  await attempt(
    actor,
    'open',
    async () => {
      writer = await openVolumeWriter(actor.options, volumeId, {
        trustMs: actor.settings.undeleteMs / 4,
        holder: role.holder,
        accountId: ACCOUNTS[role.account] ?? '',
        takeOver,
        // Some gateways keep recovery points, and some do not.
        ...(role.account === 2 ? {} : { recovery: recoveryPolicy(actor.settings) }),
      });
    },
    (error) => error.kind === 'corrupt' && error.code !== 'assertion' && excused(),
  );
  if (writer === undefined) return;
  const { sizeBytes, map, epoch } = writer;
  const tenure = actor.auditor.opened(volumeId, epoch, { sizeBytes, mappedPages: map.mappedPages });
  actor.note(`opened ${volumeId} under epoch ${String(epoch)}: state ${String(tenure.last)}`);
  if (before?.holder !== null) actor.tally.event('take-overs');
  await new Session(actor, role, writer, tenure).run();
}

class Session {
  readonly #actor: Actor;
  readonly #role: WriterRole;
  readonly #writer: VolumeWriter;
  readonly #tenure: Tenure;
  #broken = false;
  #ended = false;

  constructor(actor: Actor, role: WriterRole, writer: VolumeWriter, tenure: Tenure) {
    this.#actor = actor;
    this.#role = role;
    this.#writer = writer;
    this.#tenure = tenure;
  }

  async run(): Promise<void> {
    const { choices } = this.#actor;
    for (let left = choices.integer(1, 8); left > 0 && !this.#actor.closing() && !this.#broken; left--) {
      await this.#operation();
      if (choices.chance(0.4)) await pause(this.#actor);
    }
    await this.#end();
  }

  async #end(): Promise<void> {
    const { choices } = this.#actor;
    if (this.#broken) {
      // What is broken or fenced stays so.
      if (!this.#ended && choices.chance(0.5)) await this.#commits(1);
      await this.#writer.abandon();
    } else if (choices.chance(0.7)) await this.#do('close', async () => this.#writer.close());
    else await this.#writer.abandon();
  }

  async #operation(): Promise<void> {
    const { choices } = this.#actor;
    const dice = choices.integer(0, 99);
    if (dice < 45) await this.#commits(1);
    else if (dice < 65) await this.#commits(choices.integer(2, 6));
    else if (dice < 75) await this.#resize();
    else if (dice < 87) await this.#do('checkpoint', async () => this.#writer.checkpoint());
    else await this.#read();
  }

  /** Damage may be met only by one that was fenced, or whose volume was deleted: what it stood on may be gone. */
  async #do(name: string, work: () => Promise<void>): Promise<void> {
    const { ledger } = this.#tenure;
    const lost = (): boolean =>
      (this.#actor.auditor.head(ledger.volumeId)?.epoch ?? Number.POSITIVE_INFINITY) > this.#tenure.epoch ||
      ledger.deletion !== 'none';
    const done = await attempt(this.#actor, name, work, (error) => error.kind === 'corrupt' && lost());
    if (done) return;
    this.#broken = true;
    // A resize can fail before it commits anything, and what comes after it then counts.
    if (name === 'resize') this.#ended = true;
  }

  #nextState(): { readonly after: DiskState; readonly commit: () => Promise<void> } {
    const { choices } = this.#actor;
    const before = this.#tenure.view;
    const pages = PAGES.filter((page) => page < pagesOf(before.sizeBytes));
    const wanted = new Set(Array.from({ length: choices.integer(1, 4) }, () => choices.pick(pages)));
    // At least one page is written, so that no two states of a volume are alike by accident.
    const [anchor = 0] = wanted;
    const unmap = choices.chance(0.25)
      ? clipped(choices.pick(UNMAPS), pagesOf(before.sizeBytes)).filter((extent) => !isIn(extent, anchor))
      : [];
    const writes = [...wanted].filter((page) => !unmap.some((extent) => isIn(extent, page)));
    const consistent = choices.chance(0.75);
    const change = { stamp: this.#actor.stamp(), account: this.#role.account, writes, unmap, consistent };
    const batch = batchOf(before, change);
    return { after: changed(before, change), commit: async () => this.#writer.commit(batch) };
  }

  /** Commits that do not wait for each other. */
  async #commits(count: number): Promise<void> {
    const all: Promise<void>[] = [];
    for (let i = 0; i < count; i++) {
      const { after, commit } = this.#nextState();
      all.push(this.#issue('commit', after, commit));
    }
    await Promise.all(all);
  }

  async #issue(name: string, after: DiskState, commit: () => Promise<void>): Promise<void> {
    const { ledger } = this.#tenure;
    const issued = ledger.issue(this.#tenure, after);
    const what = `${name} ${String(issued.index)} of ${ledger.volumeId}`;
    this.#actor.note(`asks for ${what}: ${describeState(after)}`);
    await this.#do(name, async () => {
      await commit();
      this.#actor.note(`${what} acknowledged`);
      const how = ledger.acknowledge(issued);
      this.#actor.tally.check('an acknowledgement counts');
      if (how === 'adopted') this.#actor.tally.event('acknowledged after being adopted');
    });
  }

  async #resize(): Promise<void> {
    const sizeBytes = this.#actor.choices.pick(SIZES.filter((size) => size !== this.#tenure.view.sizeBytes));
    const after = resized(this.#tenure.view, sizeBytes, this.#role.account);
    await this.#issue('resize', after, async () => this.#writer.resize(sizeBytes));
  }

  async #read(): Promise<void> {
    await this.#do('read by the writer', async () => {
      const found = { sizeBytes: this.#writer.sizeBytes, pages: await readPages(this.#writer) };
      const { view, viewKnown } = this.#tenure;
      if (!viewKnown) return;
      hold(
        contentName(found) === contentName(view),
        () => `C5 a writer reads ${describeState(found)}, and has written ${describeState(view)}`,
      );
      this.#actor.tally.check('a writer reads what it wrote');
    });
  }
}

const UNMAPS: readonly PageExtent[] = [
  { firstPage: 0, pageCount: 1 },
  { firstPage: 1, pageCount: 16 },
  { firstPage: 0, pageCount: 1024 },
  { firstPage: 1000, pageCount: 2000 },
  { firstPage: 1024, pageCount: 1024 },
  { firstPage: 1, pageCount: 1 << 20 },
];

const isIn = ({ firstPage, pageCount }: PageExtent, page: number): boolean =>
  page >= firstPage && page < firstPage + pageCount;

function clipped({ firstPage, pageCount }: PageExtent, pages: number): PageExtent[] {
  const end = Math.min(firstPage + pageCount, pages);
  return end > firstPage ? [{ firstPage, pageCount: end - firstPage }] : [];
}
