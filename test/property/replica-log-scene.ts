/**
 * A holder's write log, a store that it uploads to, and a replica log on a disk that forgets; in between, a holder that knows where
 * the replica ends and sends what it lacks, in any chunks. The holder may lose its tail too, and go on without it.
 */
import { expect } from 'vitest';
import { systemClock, type Random } from '../../src/core/kit/index.ts';
import { positionOf } from '../../src/core/volume/log-position.ts';
import {
  findLog,
  LOG_PAGE_BYTES,
  openLog,
  openReplicaLog,
  type ReplicaLog,
  type SentRecord,
  type WriteLog,
} from '../../src/core/writelog/index.ts';
import { ForgetfulLogDisk } from '../fault/forgetful-log-disk.ts';

const FILE_BYTES = 16 * LOG_PAGE_BYTES;
const CAPACITY_BYTES = 8 * FILE_BYTES;
const PAGES = 40;

/** What has to be equal wherever a record is. */
const contentOf = ({ sequence, incarnation, epoch, appendedMs, extentCount, body, pages }: SentRecord): object => ({
  ...{ sequence, incarnation, epoch, appendedMs, extentCount },
  body: body.toString('hex'),
  pages: pages.toString('hex'),
});

export class ReplicaScene {
  holderDisk = new ForgetfulLogDisk();
  holder!: WriteLog;
  replicaDisk = new ForgetfulLogDisk();
  replica!: ReplicaLog;
  /** Of the newest data segment in the store. */
  store = { dataSeq: 0, incarnation: null as string | null, last: 0 };
  /** What the replica was sent, by sequence. */
  readonly sent = new Map<number, SentRecord>();
  /** The replica has said so, or it was certainly lost with the folder. */
  received = 0;
  synced = 0;
  /** Everything that the holder's log had at the last connection has to be received. */
  #wholeFrom: number | undefined;
  isConnected = false;
  readonly counts = { anew: 0, diverged: 0, begun: 0, whole: 0, notWhole: 0, appended: 0, torn: 0 };
  #epoch = 0;
  #value = 0;
  readonly random: Random;

  constructor(random: Random) {
    this.random = random;
  }

  #below(count: number): number {
    return Math.floor(this.random.float() * count);
  }

  async openHolder(): Promise<void> {
    this.#epoch += 1;
    this.isConnected = false;
    const found = await findLog(this.holderDisk);
    this.holder = await openLog({
      disk: this.holderDisk,
      found,
      capacityBytes: CAPACITY_BYTES,
      fileBytes: FILE_BYTES,
      clock: systemClock,
      incarnation: {
        incarnation: this.random.bytes(8).toString('hex'),
        epoch: this.#epoch,
        baseSeq: this.store.dataSeq,
        uploadedSequence: this.store.last,
      },
    });
    expect(this.holder.damage).toBeNull();
  }

  async openReplica(): Promise<void> {
    this.isConnected = false;
    const found = await findLog(this.replicaDisk);
    expect(found.damage).toBeNull();
    this.replica = await openReplicaLog({
      disk: this.replicaDisk,
      found,
      capacityBytes: CAPACITY_BYTES,
      fileBytes: FILE_BYTES,
      clock: systemClock,
      random: this.random,
    });
    expect(this.replica.setAside).toBeNull();
  }

  async write(count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      const pages = 1 + this.#below(6);
      const bytes = pages * LOG_PAGE_BYTES;
      await this.#makeRoom(bytes + 2 * LOG_PAGE_BYTES);
      const first = this.#below(PAGES);
      const all = [this.holder.append(first, Buffer.alloc(bytes, ++this.#value & 0xff))];
      const dice = this.random.float();
      if (dice < 0.2)
        all.push(this.holder.appendSectors(this.#below(PAGES), 1 + this.#below(254), filled(this.#value)));
      else if (dice < 0.3) all.push(this.holder.appendZeroes(this.#below(PAGES), 1 + this.#below(2000)));
      else if (dice < 0.35) all.push(this.holder.appendResize(this.#below(PAGES) * LOG_PAGE_BYTES));
      await Promise.all(all);
      if (dice < 0.97) continue;
      await this.#makeRoom(0);
      await this.holder.appendBarrier(`snap-${this.#value}`);
    }
  }

  async #makeRoom(bytes: number): Promise<void> {
    while (!this.holder.hasRoom(bytes)) {
      this.upload(1e9);
      await this.holder.room(bytes, AbortSignal.timeout(5000));
    }
  }

  /** The holder's uploader commits some records as one segment. */
  upload(countMax: number): void {
    const { lastSequence } = this.holder.usage;
    const last = Math.min(lastSequence, this.store.last + countMax);
    if (last <= this.store.last) return;
    const [record] = this.holder.sent(last, 0);
    expect(record?.sequence).toBe(last);
    this.store = { dataSeq: this.store.dataSeq + 1, incarnation: record?.incarnation ?? null, last };
    this.holder.uploaded(last);
    if (this.isConnected) this.replica.uploaded(last);
  }

  /** What a holder and a replica do when they meet. */
  async connect(): Promise<void> {
    const { incarnations, usage } = this.holder;
    const { position } = this.replica;
    const at = incarnations.findIndex((one) => one.incarnation === position.incarnation);
    const end = at < 0 ? -1 : (incarnations[at + 1]?.firstSequence ?? usage.lastSequence + 1) - 1;
    const isHeld = usage.lastSequence === position.received || this.holder.sent(position.received + 1, 0).length > 0;
    this.isConnected = true;
    this.#wholeFrom = usage.lastSequence;
    if (at >= 0 && position.received <= end && isHeld) return;
    const { uploadedSequence } = usage;
    const hasDiverged = position.received > Math.max(end, this.#replicaUploaded());
    const { setAside } = await this.replica.anew(incarnations, uploadedSequence);
    this.counts.anew += 1;
    if (hasDiverged && position.incarnation !== null) {
      this.counts.diverged += 1;
      expect(setAside).toContain('diverged');
    }
    expect(this.replica.position).toMatchObject({ received: uploadedSequence, isWhole: false });
    this.sent.clear();
    this.received = uploadedSequence;
    this.synced = 0;
  }

  /** At least this much the replica's log knows to be in the store. */
  #replicaUploaded(): number {
    return this.#toldUploaded;
  }
  #toldUploaded = 0;

  /** Sends up to `countMax` records. */
  async send(countMax: number): Promise<void> {
    if (!this.isConnected) await this.connect();
    let records = this.holder.sent(this.replica.position.received + 1, 1 + this.#below(30 * LOG_PAGE_BYTES));
    records = records.slice(0, countMax);
    for (const record of records) {
      await this.#begin(record);
      while (!this.replica.hasRoom(record.pages.length)) {
        this.upload(1e9);
        this.replica.uploaded(this.store.last);
        await this.replica.room(record.pages.length, AbortSignal.timeout(5000));
      }
      this.replica.append(record);
      this.#toldUploaded = Math.max(this.#toldUploaded, record.uploadedSequence);
      this.counts.appended += 1;
      this.sent.set(record.sequence, record);
      this.received = record.sequence;
    }
    expect(this.replica.position.received).toBe(this.received);
    if (this.#wholeFrom === undefined || this.received < this.#wholeFrom || this.replica.position.isWhole) return;
    if (this.random.float() < 0.6) await this.replica.caughtUp();
  }

  async #begin(record: SentRecord): Promise<void> {
    const { incarnations } = this.holder;
    const from = incarnations.findIndex((one) => one.incarnation === this.replica.position.incarnation);
    const to = incarnations.findIndex((one) => one.incarnation === record.incarnation);
    for (const one of incarnations.slice(from + 1, to + 1)) {
      await this.replica.begin(one);
      this.counts.begun += 1;
    }
  }

  async sync(): Promise<void> {
    const { received } = this;
    await this.replica.sync();
    if (this.replica.position.incarnation !== null) this.synced = received;
    expect(this.replica.position.synced).toBeGreaterThanOrEqual(this.synced);
  }

  /** The replica hears what is in the store. */
  tell(): void {
    if (!this.isConnected) return;
    this.replica.uploaded(this.store.last);
    this.#toldUploaded = Math.min(this.store.last, this.replica.position.received);
  }

  async killReplica(): Promise<void> {
    const { isWhole } = this.replica.position;
    this.replicaDisk = this.replicaDisk.afterKill();
    await this.openReplica();
    // Only the process ended.
    expect(this.replica.position).toMatchObject({ received: this.received, isWhole });
  }

  async cutReplica(): Promise<void> {
    this.replicaDisk = this.replicaDisk.afterCut(this.random, this.random.float() < 0.5 ? 512 : LOG_PAGE_BYTES);
    await this.openReplica();
    const { received, isWhole } = this.replica.position;
    if (received < this.received) this.counts.torn += 1;
    expect(isWhole, 'after a loss of power nobody knows').toBe(false);
    expect(received).toBeGreaterThanOrEqual(this.synced);
    expect(received).toBeLessThanOrEqual(Math.max(this.received, this.store.last));
    for (const sequence of this.sent.keys()) if (sequence > received) this.sent.delete(sequence);
    this.received = received;
    this.synced = received;
  }

  /** An orderly end; the machine may be started again behind it. */
  async closeReplica(): Promise<void> {
    const { isWhole } = this.replica.position;
    await this.replica.close();
    this.replicaDisk =
      this.random.float() < 0.5 ? this.replicaDisk.afterKill() : this.replicaDisk.afterCut(this.random, 512);
    await this.openReplica();
    expect(this.replica.position).toMatchObject({ received: this.received, synced: this.received });
    // What was not whole is not by being closed; where there is no log there is nothing to be lost.
    expect(this.replica.position.isWhole).toBe(isWhole);
    this.synced = this.received;
  }

  async restartHolder(): Promise<void> {
    await this.holder.close();
    await this.openHolder();
  }

  /** The holder loses power, and goes on with what is left (an operator has accepted it). */
  async cutHolder(): Promise<void> {
    this.holderDisk = this.holderDisk.afterCut(this.random, LOG_PAGE_BYTES);
    await this.openHolder();
  }

  /** What the replica's folder holds as the volume's own: everything that was sent, and what makes it continue the store. */
  async check(): Promise<void> {
    const { position } = this.replica;
    this.counts[position.isWhole ? 'whole' : 'notWhole'] += 1;
    if (position.incarnation === null) return;
    const disk = this.replicaDisk.afterKill().copy();
    const found = await findLog(disk);
    expect(found.damage).toBeNull();
    const isDiverged = !this.#isPrefix();
    const store = {
      dataSeq: this.store.dataSeq,
      records: this.store.incarnation === null ? null : { incarnation: this.store.incarnation, last: this.store.last },
    };
    const where = positionOf(found, store);
    // What lags behind the store may have nothing of it.
    if (position.received < this.store.last || isDiverged) return;
    expect(where).toEqual({ kind: 'continues', uploadedSequence: this.store.last });
    const known = new Map(found.incarnations.map((one) => [one.incarnation, one]));
    for (let i = this.store.last + 1; i <= position.received; i++) {
      const record = this.sent.get(i);
      const original = this.holder.incarnations.find((one) => one.incarnation === record?.incarnation);
      expect(known.get(record?.incarnation ?? '')).toMatchObject({ ...original, bootId: expect.any(String) });
      expect(original).toBeDefined();
    }
    const log = await openLog({
      disk,
      found,
      capacityBytes: CAPACITY_BYTES,
      clock: systemClock,
      incarnation: {
        incarnation: 'f'.repeat(16),
        epoch: 99,
        baseSeq: store.dataSeq,
        uploadedSequence: this.store.last,
      },
    });
    expect(log.damage).toBeNull();
    expect(log.usage.lastSequence).toBe(position.received);
    for (let i = this.store.last + 1; i <= position.received;) {
      const records = log.sent(i, 20 * LOG_PAGE_BYTES);
      expect(records.length).toBeGreaterThan(0);
      for (const record of records) expect(contentOf(record)).toEqual(contentOf(this.sent.get(i++) as SentRecord));
    }
    // As the holder has them, too.
    const sent = this.holder.sent(this.store.last + 1, 1e9).slice(0, position.received - this.store.last);
    expect(log.sent(this.store.last + 1, 1e9).map(contentOf)).toEqual(sent.map(contentOf));
    await log.close();
  }

  /** Whether the holder's log has all that the replica was sent. */
  #isPrefix(): boolean {
    const { incarnations, usage } = this.holder;
    const { incarnation, received } = this.replica.position;
    const at = incarnations.findIndex((one) => one.incarnation === incarnation);
    return at >= 0 && received <= (incarnations[at + 1]?.firstSequence ?? usage.lastSequence + 1) - 1;
  }
}

const filled = (value: number): Buffer => Buffer.alloc(LOG_PAGE_BYTES, value & 0xff);
