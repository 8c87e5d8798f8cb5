/**
 * What a running gateway serves: the registry of its exports, and the cache that they share.
 *
 * States: new -> started -> stopped. What `state.json` says is attached is attached again by `start`, each export by itself:
 * one that can't be opened is shown with its reason and tried again, and stops no other. An export is in the state before it
 * is opened and until it has ended, so a gateway that was killed serves the same again. Invariants: an export's name is taken
 * from the moment that it is asked for; a volume is served once, and its lock is held meanwhile.
 */
import type { CacheStats, FrameCache } from '../../cache/index.ts';
import { toSgwError, type SgwError } from '../../kit/index.ts';
import type { AttachmentDocument, CallContext } from '../../localapi/index.ts';
import type { ExportDirectory, ExportEntry, OpenedExport, OpenRequest } from '../../nbd/index.ts';
import type { AttachmentState, CompletedRestore } from '../../state/index.ts';
import type { Session } from '../session.ts';
import { Attachment } from './attachment.ts';
import { ChapBook } from './chap-file.ts';
import { attachmentDocument, configuredListening } from './documents.ts';
import { forgetImage } from './forget-image.ts';
import { IscsiTargets } from './iscsi-targets.ts';
import { retireLog } from './local-log.ts';
import { openRow } from './open-row.ts';
import type { Opened } from './opened.ts';
import { GroupedExports } from './grouped-exports.ts';
import type { AttachOptions, Attempt, ServingOptions } from './options.ts';
import { clientsConnected, decidedByGroup, ending, noExport, requireFree, stopped, suspended } from './refusals.ts';
import { progressTogether } from './progress-together.ts';
import { Retries } from './retries.ts';
import { dropScratch } from './scratch.ts';
import { cacheFolder, cacheLimits, volumeSettings } from './settings.ts';
import type {
  AttachmentReport,
  ConnectedClient,
  DetachOptions,
  DetachReport,
  Listening,
  OnProgress,
  ServedExports,
  StopOptions,
  StopReport,
} from './served.ts';
import { StateBook } from './state-book.ts';
import { cacheWishes, isStuck, namesSame, volumeWishes } from './wishes.ts';

/** How long a start waits for exports that can not be opened at once: a store may be out of reach. */
const START_MS = 10_000;
/** How long work that nobody waits for waits for a lock: it is tried again. */
const OWN_LOCK_TIMEOUT_MS = 1000;

export class Serving implements ExportDirectory, ServedExports, AsyncDisposable {
  readonly #options: ServingOptions;
  readonly #attachments = new Map<string, Attachment>();
  readonly #state: StateBook;
  /** What groups decide on. */
  readonly grouped: GroupedExports;
  /** Secrets of who may use it over iSCSI. */
  readonly chap: ChapBook;
  /** What is served over iSCSI. */
  readonly targets: IscsiTargets;
  readonly #retries: Retries<Attachment>;
  readonly #ended = new AbortController();
  /** Work that `stop` waits for. */
  readonly #openings = new Set<Promise<void>>();
  #cache: FrameCache | undefined;
  #cacheWishes = '';
  #metrics: { text(): Promise<string> } | undefined;
  /** Told by the servers once they listen; until then, what the settings say. */
  listening: Listening | undefined;
  /** Serves where the settings say now, and tells what is different. Set by who serves. */
  listen: () => Promise<readonly string[]> = async () => Promise.resolve([]);
  /** Opens portals for iSCSI where there are targets, and else closes those nobody asked for; `mayWait`: in the background, if need be. */
  listenIscsi: (mayWait?: boolean) => Promise<void> = async () => Promise.resolve();
  /** Lets go of the clients of an export, once what is under way was answered. Set by who serves them. */
  letGo: (attachment: Attachment) => Promise<void> = async () => Promise.resolve();
  /** Who is connected to an export. Set by who serves them. */
  connected: (exportName: string) => readonly ConnectedClient[] = () => [];
  /** Called just before an export is closed, and when all are. Set by who keeps figures of them. */
  closing: () => void = () => undefined;
  ended: () => Promise<void> = async () => Promise.resolve();
  /** What it was started with, for what can't be opened at once. */
  #secrets: CallContext['secrets'];

  constructor(options: ServingOptions) {
    this.#options = options;
    this.#state = new StateBook(options.home);
    this.chap = new ChapBook(options.home);
    this.targets = new IscsiTargets({
      attachments: () => this.#attachments.values(),
      settings: () => this.#state.known?.serving,
      book: this.chap,
      version: options.version,
    });
    this.grouped = new GroupedExports({
      attachments: this.#attachments,
      state: this.#state,
      chap: this.chap,
      isServing: () => this.#cache !== undefined && !this.#ended.signal.aborted,
      ofVolume: (volumeId) => this.ofVolume(volumeId),
      add: (row) => this.#add(row),
      stopTrying: async (attachment) => this.#retries.stop(attachment),
      open: async (attachment, attempt) => this.#open(attachment, attempt),
      close: async (attachment, signal) => {
        await this.letGo(attachment);
        await this.#close(attachment, false, signal);
      },
      forget: async (attachment, call) => this.#forget(attachment, call),
      listenIscsi: async () => this.listenIscsi(true),
    });
    this.#retries = new Retries(options, {
      attempt: async (attachment, signal) => {
        await this.#open(attachment, { takeOver: false, call: this.#ownCall(signal) });
      },
      onFailure: (attachment, failure, retryAtMs) => {
        attachment.wait(failure, retryAtMs);
      },
    });
  }

  /**
   * Opens the cache, and everything that is attached; resolves when each export was tried once, or the time for that is over.
   * @throws conflict `not-activated`; what opening the cache throws
   */
  async start(call: CallContext): Promise<void> {
    this.#secrets = call.secrets;
    const { home, parts } = this.#options;
    const record = await this.#state.read();
    this.#cache = await parts.openCache(cacheFolder(home), await cacheLimits(home, record));
    this.#cacheWishes = cacheWishes(record);
    const rows = record.attachments.map((row) => this.#add(row));
    await this.chap.read();
    await this.chap.prune([...this.#attachments.keys()], call).catch(() => undefined);
    const attempt = { takeOver: false, call: this.#ownCall(this.#ended.signal) };
    const tried = Promise.all(rows.map(async (one) => this.#try(one, attempt)));
    const isDone = AbortSignal.any([call.signal, this.#ended.signal]);
    await Promise.race([tried, this.#options.clock.sleep(START_MS, isDone).catch(() => undefined)]);
  }

  /** Live figures of the cache; undefined while nothing is served. */
  get cacheStats(): CacheStats | undefined {
    return this.#cache?.stats;
  }

  /** Empties it. */
  async resetCache(): Promise<void> {
    await this.#cache?.clear();
  }

  /** Every export, in the order of attaching. */
  show(): AttachmentReport[] {
    return [...this.#attachments.values()].map((attachment) => attachment.report);
  }

  /** In the text format of Prometheus. */
  async metrics(): Promise<string> {
    const { servingMetrics } = await import('./metrics.ts');
    const sources = { exports: () => this.show(), cache: () => this.cacheStats };
    this.#metrics ??= servingMetrics({ ...this.#options, ...sources });
    return await this.#metrics.text();
  }

  /** Every export as a document. */
  documents(): AttachmentDocument[] {
    const record = this.#state.known;
    if (record === undefined) return [];
    const listening = this.listening ?? configuredListening(this.#options.home, record);
    return this.show().map((report) => attachmentDocument(report, listening));
  }

  named(name: string): Attachment | undefined {
    return this.#attachments.get(name);
  }

  /** The export through which this volume is written; undefined when it is not attached. */
  ofVolume(volumeId: string): Attachment | undefined {
    return [...this.#attachments.values()].find((attachment) => attachment.volumeId === volumeId);
  }

  /** Exports of a snapshot, or of a throw-away clone of it. */
  ofSnapshot(snapshotId: string): Attachment[] {
    return [...this.#attachments.values()].filter(({ record }) => record.snapshotId === snapshotId);
  }

  /**
   * Serves what `row` names. When it resolves it can be used, and is in the state; when it can't be opened, it is neither. An
   * export of just this that waits for something, or failed, is opened anew.
   * @throws conflict `export-exists`, `volume-attached`; what opening throws
   */
  async attach(row: AttachmentState, options: AttachOptions, call: CallContext): Promise<Attachment> {
    if (this.#cache === undefined || this.#ended.signal.aborted) throw stopped();
    const attempt = { ...options, call };
    const same = this.#attachments.get(row.exportName);
    this.grouped.requireUngrouped(row);
    if (same !== undefined && namesSame(same.record, row) && isStuck(same))
      return await this.#attachAgain(same, attempt);
    requireFree(row, this.#attachments);
    const attachment = this.#add(row);
    try {
      await this.chap.set(attachment.name, options.chap, call);
      await this.#state.add(row, call);
      // What nobody can reach is not attached.
      if (row.iscsi !== null) await this.listenIscsi();
      await this.#open(attachment, attempt);
      return attachment;
    } catch (error) {
      // When even this fails, the state has it still, and it is shown.
      await this.#forget(attachment, this.#ownCall(new AbortController().signal)).catch((after: unknown) => {
        this.#retries.begin(attachment, toSgwError(after));
      });
      throw error;
    }
  }

  async #attachAgain(attachment: Attachment, attempt: Attempt): Promise<Attachment> {
    await this.#retries.stop(attachment);
    await this.chap.set(attachment.name, attempt.chap, attempt.call);
    if (attachment.opened !== undefined) {
      attachment.detach();
      await this.letGo(attachment);
      await this.#close(attachment, false, attempt.call.signal);
    }
    const failure = await this.#try(attachment, attempt);
    if (failure !== undefined) throw failure;
    return attachment;
  }

  /**
   * Ends an export. With `drain`, everything acknowledged is in the store first; when that fails, the export goes on. A
   * volume that is fenced or damaged can't be drained, and a throw-away clone needs not: they are closed as they are.
   * @throws conflict `clients-connected` without `force`, `export-ending`; what uploading throws
   */
  async detach(attachment: Attachment, options: DetachOptions, call: CallContext): Promise<DetachReport> {
    if (attachment.phase === 'detaching' || attachment.phase === 'ended') throw ending(attachment);
    this.grouped.requireUngrouped(attachment.record);
    if (attachment.clients > 0 && !options.force) throw clientsConnected(attachment);
    const canDrain = options.drain && attachment.record.scratchToken === null && attachment.failure === undefined;
    attachment.detach();
    await this.#retries.stop(attachment);
    await this.letGo(attachment);
    const volume = attachment.opened?.volume;
    const onProgress = (doneBytes: number, totalBytes: number): void => {
      call.onProgress({ label: `uploading ${attachment.name}`, doneBytes, totalBytes });
    };
    if (canDrain && volume !== undefined) {
      try {
        await volume.drain({ signal: call.signal, onProgress });
      } catch (error) {
        attachment.goOn();
        throw error;
      }
    }
    const { report } = attachment;
    const left = await this.#close(attachment, canDrain, call.signal);
    if (canDrain && left === 0 && volume !== undefined) await retireLog(this.#options.home, volume.volumeId);
    if (attachment.record.imagePath !== undefined && attachment.volumeId !== null)
      await forgetImage(this.#options.home, attachment.volumeId, canDrain && left === 0);
    await this.#forget(attachment, call);
    const isScratch = attachment.record.scratchToken !== null;
    return { report, drained: left === 0, dirtyBytes: isScratch ? 0 : left };
  }

  /**
   * Reads the settings again and gives them to what is open. Exports go on meanwhile.
   * @returns sentences: what is different now
   */
  async reload(): Promise<string[]> {
    const record = await this.#state.read();
    await this.chap.read();
    const { home } = this.#options;
    const changes: string[] = [];
    if (this.#cache !== undefined && this.#cacheWishes !== cacheWishes(record)) {
      await this.#cache.resize(await cacheLimits(home, record));
      this.#cacheWishes = cacheWishes(record);
      changes.push('The cache has another size.');
    }
    for (const attachment of this.#attachments.values()) {
      const volume = attachment.opened?.volume;
      if (volume === undefined || attachment.wishes === volumeWishes(record, volume.volumeId)) continue;
      const settings = await volumeSettings(home, record, volume.volumeId);
      // What acknowledges a volume of a group is the group's to say.
      await volume.configure(attachment.record.grouped === true ? { ...settings, ack: volume.stats.ack } : settings);
      attachment.wishes = volumeWishes(record, volume.volumeId);
      changes.push(`Export ${attachment.name} has other settings.`);
    }
    changes.push(...(await this.listen()));
    return changes;
  }

  /**
   * Ends what is served until `resume`, also over restarts; it stays attached. What the store does not take stays in the write
   * logs. Durable when it resolves. Whether it was served until now.
   */
  async suspend(call: CallContext): Promise<boolean> {
    const changed = await this.#state.suspend(true, call);
    await Promise.all([...this.#attachments.values()].map(async (one) => this.#suspend(one, call)));
    return changed;
  }

  /** Serves again what is attached; resolves when each export was tried once. Whether it was suspended. */
  async resume(call: CallContext): Promise<boolean> {
    const changed = await this.#state.suspend(false, call);
    const attempt = { takeOver: false, call: this.#ownCall(this.#ended.signal) };
    await Promise.all([...this.#attachments.values()].map(async (one) => this.#resume(one, attempt)));
    return changed;
  }

  async #suspend(attachment: Attachment, { signal }: CallContext): Promise<void> {
    if (attachment.phase === 'detaching' || attachment.phase === 'ended') return;
    // Another member takes it.
    if (attachment.record.grouped === true && attachment.opened === undefined) return;
    await this.#retries.stop(attachment);
    attachment.detach();
    await this.letGo(attachment);
    const canDrain = attachment.failure === undefined;
    if (canDrain) await this.#drain(attachment, signal, () => undefined);
    await this.#close(attachment, canDrain, signal);
    this.#retries.begin(attachment, suspended());
  }

  async #resume(attachment: Attachment, attempt: Attempt): Promise<void> {
    if (attachment.phase !== 'waiting') return;
    await this.#retries.stop(attachment);
    await this.#try(attachment, attempt);
  }

  /** Serves it under other rules from now on; who is connected has to come again. Durable when it resolves. */
  async rule(attachment: Attachment, row: AttachmentState, call: CallContext): Promise<void> {
    await this.#state.replace(row, call);
    attachment.record = row;
    await this.letGo(attachment);
  }

  /**
   * Ends all exports, which stay in the state for the next start. With `drain`, what is not in the store is brought there,
   * until `signal` fires; what is left then stays in the write logs. Never fails for that. Idempotent.
   */
  async stop({ drain, signal, onProgress }: StopOptions): Promise<StopReport> {
    this.#ended.abort(stopped());
    await this.#retries.end();
    const attachments = [...this.#attachments.values()];
    for (const attachment of attachments) attachment.detach();
    await Promise.allSettled(this.#openings);
    await Promise.all(attachments.map(async (one) => this.letGo(one)));
    const told = progressTogether(attachments.length, onProgress);
    const left = await Promise.all(
      attachments.map(async (attachment, i) => {
        const canDrain = drain && attachment.failure === undefined;
        if (canDrain) await this.#drain(attachment, signal, told(i));
        return await this.#close(attachment, canDrain, signal);
      }),
    );
    this.#attachments.clear();
    const cache = this.#cache;
    this.#cache = undefined;
    await cache?.close();
    await this.#options.parts.close();
    await this.ended();
    const dirtyBytes = left.reduce((sum, bytes) => sum + bytes, 0);
    return { drained: dirtyBytes === 0, dirtyBytes };
  }

  /** What can't be drained is told by the closing that follows. */
  async #drain(attachment: Attachment, signal: AbortSignal, onProgress: OnProgress): Promise<void> {
    await attachment.volume?.drain({ signal, onProgress }).catch(() => undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop({ drain: false, signal: new AbortController().signal });
  }

  /** Whether clients may ask what is served. */
  get isListed(): boolean {
    return this.#state.known?.serving.listExports !== false;
  }

  async list(): Promise<readonly ExportEntry[]> {
    const entries = [...this.#attachments.values()].flatMap(({ name, phase, opened, isOverNbd }) =>
      isOverNbd && phase === 'serving' && opened !== undefined ? [{ name, description: opened.description }] : [],
    );
    return Promise.resolve(entries);
  }

  /** @throws notFound `export-not-found`; unavailable `export-not-ready` */
  async open(name: string, _request?: OpenRequest): Promise<OpenedExport> {
    const wanted = name === '' ? (this.#state.known?.serving.defaultExport ?? '') : name;
    const attachment = this.#attachments.get(wanted);
    if (attachment?.isOverNbd !== true) throw noExport(name);
    return Promise.resolve(attachment.open());
  }

  #add(row: AttachmentState): Attachment {
    const openSession = async (signal = this.#ended.signal): Promise<Session> =>
      this.#options.openSession(row.accountId, this.#ownCall(signal));
    const attachment = new Attachment(row, { openSession, connected: (name) => this.connected(name) });
    this.#attachments.set(row.exportName, attachment);
    return attachment;
  }

  async #open(attachment: Attachment, attempt: Attempt): Promise<void> {
    const work = this.#openUnlessEnded(attachment, attempt);
    this.#openings.add(work);
    try {
      await work;
    } finally {
      this.#openings.delete(work);
    }
  }

  async #openUnlessEnded(attachment: Attachment, attempt: Attempt): Promise<void> {
    if (this.#state.known?.suspended === true) throw suspended();
    attachment.begin();
    const signal = AbortSignal.any([attempt.call.signal, this.#ended.signal]);
    const opened = await this.#openNow(attachment, { ...attempt, call: { ...attempt.call, signal } });
    if (attachment.phase !== 'opening') {
      await opened.close({ drain: false });
      throw ending(attachment);
    }
    attachment.serve(opened);
    opened.lost?.addEventListener('abort', () => {
      void this.#onLost(attachment, toSgwError(opened.lost?.reason));
    });
  }

  async #openNow(attachment: Attachment, attempt: Attempt): Promise<Opened> {
    const noteCompleted = async (completed: CompletedRestore): Promise<void> =>
      this.#noteCompleted(attachment, completed);
    return await openRow(attachment, attempt, {
      ...{ options: this.#options, state: this.#state, noteCompleted },
      cache: () => this.#cache,
    });
  }

  /** From now on the image is served as it is. Durable when it resolves. */
  async #noteCompleted(attachment: Attachment, completed: CompletedRestore): Promise<void> {
    const { record } = attachment;
    if (record.restore === undefined) return;
    const row = { ...record, restore: { ...record.restore, completed } };
    await this.#state.replace(row, this.#ownCall(new AbortController().signal));
    attachment.record = row;
  }

  /**
   * Opens it, unless a group decides on it; after a failure that may pass, it is tried again in the background. Returns the failure.
   */
  async #try(attachment: Attachment, attempt: Attempt): Promise<SgwError | undefined> {
    try {
      if (attachment.record.grouped === true) attachment.wait(decidedByGroup(), null);
      else await this.#open(attachment, attempt);
      return undefined;
    } catch (error) {
      const failure = toSgwError(error);
      this.#retries.begin(attachment, failure);
      return failure;
    }
  }

  async #onLost(attachment: Attachment, reason: SgwError): Promise<void> {
    const { opened } = attachment;
    if (attachment.phase !== 'serving' || opened === undefined) return;
    attachment.detach();
    await this.letGo(attachment);
    await opened.close({ drain: false }).catch(() => undefined);
    this.#retries.begin(attachment, reason);
  }

  /** Closes what is open, undrained when it can't be drained. Returns the bytes that stay in its log. */
  async #close(attachment: Attachment, drain: boolean, signal: AbortSignal): Promise<number> {
    const { opened } = attachment;
    this.closing();
    try {
      await opened?.close({ drain, signal });
      return drain ? 0 : (opened?.volume?.stats.dirtyBytes ?? 0);
    } catch {
      const dirtyBytes = opened?.volume?.stats.dirtyBytes ?? 0;
      await opened?.close({ drain: false }).catch(() => undefined);
      return dirtyBytes;
    } finally {
      attachment.end();
    }
  }

  /** Takes an export that is closed from the state and the registry, with the clone that goes with it. */
  async #forget(attachment: Attachment, call: CallContext): Promise<void> {
    if (attachment.record.scratchToken !== null) {
      const session = await this.#options.openSession(attachment.record.accountId, call);
      await dropScratch(session, attachment.record, call);
    }
    await this.#state.remove(attachment.name, call);
    attachment.end();
    // The next start removes what stays.
    await this.chap.set(attachment.name, undefined, call).catch(() => undefined);
    await this.chap.setInitiator(attachment.name, undefined, undefined, call).catch(() => undefined);
    await this.#dropHelper(attachment, call).catch(() => undefined);
    this.#attachments.delete(attachment.name);
    if (attachment.record.iscsi !== null) await this.listenIscsi().catch(() => undefined);
  }

  /** The snapshot of a recovery point goes with its last export; best effort, it is listed while it stays. */
  async #dropHelper(attachment: Attachment, call: CallContext): Promise<void> {
    const { snapshotId } = attachment;
    if (snapshotId === null || this.ofSnapshot(snapshotId).some((other) => other !== attachment)) return;
    const session = await this.#options.openSession(attachment.record.accountId, call);
    const { dropHelperSnapshot } = await import('../helper-snapshots.ts');
    await dropHelperSnapshot(session, snapshotId);
  }

  /** For work that no caller waits for. */
  #ownCall(signal: AbortSignal): CallContext {
    const secrets = this.#secrets === undefined ? {} : { secrets: this.#secrets };
    return { signal, onProgress: () => undefined, lockTimeoutMs: OWN_LOCK_TIMEOUT_MS, ...secrets };
  }
}
