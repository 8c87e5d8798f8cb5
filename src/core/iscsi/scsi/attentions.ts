/** Unit attentions that wait for the next command of one nexus (SAM-5, 5.14). */
import { ASC, SENSE_KEY, type Sense } from './sense.ts';

/** Power on and resets: told before a reservation conflict is (SAM-5, 5.3.3). */
const isReset = (code: number): boolean => code >> 8 === ASC.powerOn >> 8;

export class Attentions {
  #codes: number[] = [];

  /** One is kept of each code. A reset makes whatever came before it pointless. */
  establish(code: number): void {
    if (isReset(code)) this.#codes = [code];
    else if (!this.#codes.includes(code)) this.#codes.push(code);
  }

  get isEmpty(): boolean {
    return this.#codes.length === 0;
  }

  /** Takes one about a reset. */
  takeReset(): Sense | undefined {
    const first = this.#codes[0];
    return first !== undefined && isReset(first) ? this.take() : undefined;
  }

  /** Takes the oldest. */
  take(): Sense | undefined {
    const code = this.#codes.shift();
    return code === undefined ? undefined : { key: SENSE_KEY.unitAttention, code };
  }
}
