/**
 * What a set of objects is, in a few bytes: their number, their bytes, and a sum over their keys and sizes that no other set
 * has. It does not depend on the order.
 */
import { createHash } from 'node:crypto';

const SUM_BYTES = 16;
const MODULUS = 1n << BigInt(8 * SUM_BYTES);

export class Tally {
  objects = 0;
  bytes = 0;
  #sum = 0n;

  add(key: string, sizeBytes: number): void {
    this.objects += 1;
    this.bytes += sizeBytes;
    const hash = createHash('sha256')
      .update(`${key} ${String(sizeBytes)}`)
      .digest();
    this.#sum = (this.#sum + BigInt(`0x${hash.toString('hex', 0, SUM_BYTES)}`)) % MODULUS;
  }

  equals(other: Tally): boolean {
    return this.objects === other.objects && this.bytes === other.bytes && this.#sum === other.#sum;
  }
}
