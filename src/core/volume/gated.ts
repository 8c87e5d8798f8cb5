/**
 * A served volume with a gate, for a planned take-over (docs/adr/0025-groups.md): while it is closed, requests wait, and nothing
 * is under way.
 *
 * States: open <-> closed; the end of the volume opens it, so that what waits hears why.
 */
import type { BlockDevice, Completion, DeviceCall, DeviceExtent, WriteCall, ZeroCall } from '../blockdevice/index.ts';
import { assert, untilAborted, type SgwError, type VolumeId } from '../kit/index.ts';
import type { PendingCreation, ServedSnapshot, ServedVolume, VolumeSettings, VolumeStats } from './contract.ts';

export interface GatedVolume extends ServedVolume {
  /** Has requests wait from now on. Resolves when none is under way; when it can not wait for that, it opens the gate again. */
  closeGate(signal?: AbortSignal): Promise<void>;
  /** Lets those that wait go on. */
  openGate(): void;
}

/** Puts a gate, which is open, before a volume. */
export function gatedVolume(volume: ServedVolume): GatedVolume {
  return new Gated(volume);
}

class Gated implements GatedVolume {
  readonly #volume: ServedVolume;
  #underWay = 0;
  /** Waits until the gate is open; undefined: it is. */
  #opened: Promise<void> | undefined;
  #open: () => void = () => undefined;
  /** Told when nothing is under way. */
  #onIdle: (() => void)[] = [];

  constructor(volume: ServedVolume) {
    this.#volume = volume;
  }

  async closeGate(signal?: AbortSignal): Promise<void> {
    this.#opened ??= new Promise((resolve) => {
      this.#open = resolve;
    });
    if (this.#underWay === 0) return;
    try {
      await untilAborted(new Promise<void>((resolve) => this.#onIdle.push(resolve)), signal);
    } catch (error) {
      this.openGate();
      throw error;
    }
  }

  openGate(): void {
    this.#open();
    this.#opened = undefined;
  }

  #pass(request: () => Completion, signal?: AbortSignal): Completion {
    if (this.#opened !== undefined) return this.#passLater(request, signal);
    const done = request();
    return done === undefined ? undefined : this.#counted(done);
  }

  async #passLater<T>(request: () => Promise<T> | undefined, signal?: AbortSignal): Promise<T | undefined> {
    while (this.#opened !== undefined) await untilAborted(this.#opened, signal);
    const done = request();
    return done === undefined ? undefined : await this.#counted(done);
  }

  async #counted<T>(done: Promise<T>): Promise<T> {
    this.#underWay += 1;
    try {
      return await done;
    } finally {
      this.#underWay -= 1;
      if (this.#underWay === 0) for (const told of this.#onIdle.splice(0)) told();
    }
  }

  read(offset: number, target: Buffer, call?: DeviceCall): Completion {
    return this.#pass(() => this.#volume.read(offset, target, call), call?.signal);
  }

  write(offset: number, data: Buffer, call?: WriteCall): Completion {
    return this.#pass(() => this.#volume.write(offset, data, call), call?.signal);
  }

  trim(offset: number, length: number, call?: WriteCall): Completion {
    return this.#pass(() => this.#volume.trim(offset, length, call), call?.signal);
  }

  writeZeroes(offset: number, length: number, call?: ZeroCall): Completion {
    return this.#pass(() => this.#volume.writeZeroes(offset, length, call), call?.signal);
  }

  flush(call?: DeviceCall): Completion {
    return this.#pass(() => this.#volume.flush(call), call?.signal);
  }

  prefetch(offset: number, length: number, call?: DeviceCall): Completion {
    return this.#volume.prefetch(offset, length, call);
  }

  async extents(offset: number, length: number, piecesMax: number, call?: DeviceCall): Promise<DeviceExtent[]> {
    const extents = this.#passLater(() => this.#volume.extents(offset, length, piecesMax, call), call?.signal);
    return (await extents) ?? [];
  }

  async snapshot(create: PendingCreation): Promise<ServedSnapshot> {
    const snapshot = await this.#passLater(() => this.#volume.snapshot(create));
    assert(snapshot !== undefined, 'a volume makes the snapshot that it is asked for');
    return snapshot;
  }

  async resize(sizeBytes: number): Promise<void> {
    await this.#passLater(() => this.#volume.resize(sizeBytes));
  }

  get volumeId(): VolumeId {
    return this.#volume.volumeId;
  }

  get sizeBytes(): number {
    return this.#volume.sizeBytes;
  }

  get isReadOnly(): boolean {
    return this.#volume.isReadOnly;
  }

  get limits(): BlockDevice['limits'] {
    return this.#volume.limits;
  }

  get stats(): VolumeStats {
    return this.#volume.stats;
  }

  get failure(): SgwError | undefined {
    return this.#volume.failure;
  }

  async configure(settings: Partial<VolumeSettings>): Promise<void> {
    await this.#volume.configure(settings);
  }

  async checkHeld(signal?: AbortSignal): Promise<void> {
    await this.#volume.checkHeld(signal);
  }

  async drain(options?: Parameters<ServedVolume['drain']>[0]): Promise<void> {
    await this.#volume.drain(options);
  }

  fence(reason: SgwError): void {
    this.#volume.fence(reason);
    this.openGate();
  }

  async close(options?: Parameters<ServedVolume['close']>[0]): Promise<void> {
    const closed = this.#volume.close(options);
    this.openGate();
    await closed;
  }
}
