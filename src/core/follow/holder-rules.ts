/** Which places may be followed: never one that is older than what was followed, and not at once one that said that it leaves. */
import { SgwError, type Clock } from '../kit/index.ts';
import { TRANSMISSION, type ExportInfo, type NbdClient, type Writer } from '../nbd/client/index.ts';
import type { ListenAddress } from '../sockets/index.ts';

/** One that said that it leaves may be asked again, under the same epoch, after this. */
const SHUN_MS = 2000;

/** What a holder that is written to must do. */
const NEEDED = TRANSMISSION.sendFlush | TRANSMISSION.sendFua | TRANSMISSION.sendWriteZeroes | TRANSMISSION.sendTrim;

export class HolderRules {
  readonly #wantsReadOnly: boolean;
  readonly #clock: Clock;
  #first: ExportInfo | undefined;
  #sizeBytes = 0;
  #newestEpoch = -1;
  /** Where requests are under way now, without an answer. */
  #current: { readonly place: string; readonly epoch: number } | undefined;
  /** It has been silent for so long that connecting anew may help. */
  #isLongSilent = false;
  #shunned: { readonly place: string; readonly epoch: number; readonly untilMs: number } | undefined;

  constructor(wantsReadOnly: boolean, clock: Clock) {
    this.#wantsReadOnly = wantsReadOnly;
    this.#clock = clock;
  }

  /** Whether the volume is served by sgw, as far as is known. */
  get isOwn(): boolean {
    return this.#first?.writer !== undefined;
  }

  /** @throws unavailable `not-held-there`, `holder-old`, `holder-silent`, `holder-left`; conflict `another-volume` */
  consider(address: ListenAddress, writer: Writer | undefined): void {
    const place = nameOf(address);
    const epoch = writer?.epoch ?? -1;
    const known = this.#first?.writer;
    if (known !== undefined && writer === undefined)
      throw new SgwError('unavailable', 'not-held-there', `${place} does not hold it now`);
    if (known !== undefined && writer?.volume !== known.volume)
      throw new SgwError('conflict', 'another-volume', `${place} serves another volume under this name`, {
        details: { address: place, volumeId: known.volume },
      });
    if (epoch < this.#newestEpoch)
      throw new SgwError('unavailable', 'holder-old', `${place} was the holder before, and does not know yet`);
    if (this.#current?.place === place && epoch <= this.#current.epoch && !this.#isLongSilent)
      throw new SgwError('unavailable', 'holder-silent', `${place} does not answer what was asked`);
    const shunned = this.#shunned;
    if (shunned?.place === place && epoch <= shunned.epoch && this.#clock.monotonicMs() < shunned.untilMs)
      throw new SgwError('unavailable', 'holder-left', `${place} said that it serves it no more`);
  }

  /** @throws conflict `holder-smaller`, `holder-differs`; unsupported `holder-lacks` */
  suits(info: ExportInfo): void {
    const isReadOnly = this.#wantsReadOnly || (info.flags & TRANSMISSION.readOnly) !== 0;
    if (!isReadOnly && (info.flags & NEEDED) !== NEEDED)
      throw new SgwError('unsupported', 'holder-lacks', 'the server lacks flush, FUA, trim or write zeroes');
    const first = this.#first;
    if (first === undefined) return;
    if (info.sizeBytes < this.#sizeBytes)
      throw new SgwError(
        'conflict',
        'holder-smaller',
        `the holder's volume has ${String(info.sizeBytes)} bytes, and had ${String(this.#sizeBytes)}`,
        { details: { sizeBytes: info.sizeBytes, beforeBytes: this.#sizeBytes } },
      );
    const wasReadOnly = this.#wantsReadOnly || (first.flags & TRANSMISSION.readOnly) !== 0;
    if (isReadOnly && !wasReadOnly)
      throw new SgwError('conflict', 'holder-differs', 'the holder serves it for reading only');
    if (info.blockBytesMin > first.blockBytesMin || info.payloadBytesMax < first.payloadBytesMax)
      throw new SgwError('conflict', 'holder-differs', 'the holder takes fewer kinds of requests than the one before');
  }

  /** It is followed from now on. */
  follow({ info, address }: NbdClient): void {
    this.#first ??= info;
    this.#sizeBytes = info.sizeBytes;
    const epoch = info.writer?.epoch ?? -1;
    this.#newestEpoch = Math.max(this.#newestEpoch, epoch);
    this.#current = { place: nameOf(address), epoch };
    this.#isLongSilent = false;
    this.#shunned = undefined;
  }

  doubt(isLong: boolean): void {
    this.#isLongSilent = isLong;
  }

  lost(): void {
    this.#current = undefined;
    this.#isLongSilent = false;
  }

  shun({ info, address }: NbdClient): void {
    const untilMs = this.#clock.monotonicMs() + SHUN_MS;
    this.#shunned = { place: nameOf(address), epoch: info.writer?.epoch ?? -1, untilMs };
  }
}

/** As flags name it: `unix:PATH`, `HOST:PORT`. */
export function nameOf(address: ListenAddress): string {
  if (address.kind === 'unix') return `unix:${address.path}`;
  return `${address.host.includes(':') ? `[${address.host}]` : address.host}:${String(address.port)}`;
}
