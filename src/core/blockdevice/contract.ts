/**
 * The contract of a block device: what the wire protocols (NBD, iSCSI) serve, and what volumes are. Every implementation
 * passes `test/contract/blockdevice.ts`.
 *
 * Offsets and lengths are bytes within the device; callers check them against `sizeBytes` and `limits` once, and
 * implementations only assert. Calls may overlap in time. Two calls whose extents overlap and that are under way at once
 * take effect in either order; a call that starts after another was acknowledged sees its effect.
 */

/**
 * How a call ends: undefined when it was done before the call returned, so that a hot path makes no promise; else a promise.
 * A failure is thrown or rejected, always as an SgwError; the caller handles both.
 */
export type Completion = Promise<void> | undefined;

export interface DeviceCall {
  readonly signal?: AbortSignal;
}

export interface WriteCall extends DeviceCall {
  /** Force unit access: acknowledged only when this write is durable, as after `flush`. */
  readonly fua?: boolean;
  /**
   * All of the write is there or nothing, also after a loss of power, and no read sees a part of it. Only within
   * `limits.atomic`.
   */
  readonly atomic?: true;
}

export interface ZeroCall extends WriteCall {
  /** The zeroes may be kept as a hole. Without it (NBD's NO_HOLE) space stays reserved, where the device reserves any. */
  readonly mayTrim?: boolean;
  /** Fail with `unsupported` at once rather than write zeroes slowly (NBD's FAST_ZERO). */
  readonly fastOnly?: boolean;
}

/** Consecutive bytes in one state. */
export interface DeviceExtent {
  readonly length: number;
  /** Nothing is stored there. */
  readonly isHole: boolean;
  /** Reads as zeroes. */
  readonly isZero: boolean;
}

export interface DeviceLimits {
  /** Offsets and lengths are multiples of this: 1, or a power of two. */
  readonly blockBytesMin: number;
  /** What is fast: a power of two. */
  readonly blockBytesPreferred: number;
  /** The longest read or write. */
  readonly payloadBytesMax: number;
  /**
   * What a write with `atomic` may be: whole units of `unitBytes` (a power of two) that begin at a multiple of it, `bytesMax` at
   * most. Undefined where atomic writes are not promised.
   */
  readonly atomic?: { readonly unitBytes: number; readonly bytesMax: number };
}

export interface BlockDevice {
  /** May grow or shrink while the device is open. */
  readonly sizeBytes: number;
  readonly isReadOnly: boolean;
  readonly limits: DeviceLimits;
  /**
   * Fills `target` from `offset`.
   * @throws corrupt when what is stored there is damaged; unavailable when it is out of reach
   */
  read(offset: number, target: Buffer, call?: DeviceCall): Completion;
  /**
   * Writes `data`, which the device may use until the call ends and does not change. What acknowledges it promises is the
   * device's ack class; by default it survives the end of the process, and after `flush`, or with `fua`, loss of power.
   * @throws readOnly; exhausted; fenced
   */
  write(offset: number, data: Buffer, call?: WriteCall): Completion;
  /** Lets go of contents: they read as zeroes from then on (stronger than NBD asks). */
  trim(offset: number, length: number, call?: WriteCall): Completion;
  /** Makes an extent read as zeroes. @throws unsupported with `fastOnly` where that would be slow */
  writeZeroes(offset: number, length: number, call?: ZeroCall): Completion;
  /** Makes every write that was acknowledged before this call durable. After a failure every later flush fails too. */
  flush(call?: DeviceCall): Completion;
  /** Advice that an extent will be read soon. Never fails for what it could not do. */
  prefetch(offset: number, length: number, call?: DeviceCall): Completion;
  /**
   * The state of an extent: pieces in order that begin at `offset` and cover `length` bytes, or a beginning of it when there
   * would be more than `piecesMax`; at least one piece.
   */
  extents(offset: number, length: number, piecesMax: number, call?: DeviceCall): Promise<DeviceExtent[]>;
}
