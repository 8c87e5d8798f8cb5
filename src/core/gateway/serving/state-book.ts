/** What of `state.json` is about serving: read for every start and reload, changed row by row. */
import type { CallContext } from '../../localapi/index.ts';
import { openState, updateState, type AttachmentState, type GatewayState } from '../../state/index.ts';
import { notActivated } from '../session.ts';

type Call = Pick<CallContext, 'signal' | 'lockTimeoutMs'>;

export class StateBook {
  readonly #home: string;
  #record: GatewayState | undefined;

  constructor(home: string) {
    this.#home = home;
  }

  /** As it was read last. */
  get known(): GatewayState | undefined {
    return this.#record;
  }

  /** @throws conflict `not-activated` */
  async read(): Promise<GatewayState> {
    const { gateway } = await openState(this.#home);
    if (gateway === null) throw notActivated(this.#home);
    this.#record = gateway;
    return gateway;
  }

  /** Durable when it resolves. */
  async add(row: AttachmentState, call: Call): Promise<void> {
    await this.#change((rows) => [...rows, row], call);
  }

  /** Durable when it resolves. */
  async replace(row: AttachmentState, call: Call): Promise<void> {
    await this.#change((rows) => rows.map((old) => (old.exportName === row.exportName ? row : old)), call);
  }

  /** Durable when it resolves. */
  async remove(exportName: string, call: Call): Promise<void> {
    await this.#change((rows) => rows.filter((row) => row.exportName !== exportName), call);
  }

  /** Durable when it resolves. Whether it was otherwise. */
  async suspend(suspended: boolean, call: Call): Promise<boolean> {
    const changed = await updateState(
      this.#home,
      ({ gateway }) => {
        if (gateway === null) throw notActivated(this.#home);
        if ((gateway.suspended === true) === suspended) return false;
        if (suspended) gateway.suspended = true;
        else delete gateway.suspended;
        return true;
      },
      { lockTimeoutMs: call.lockTimeoutMs, signal: call.signal },
    );
    await this.read();
    return changed;
  }

  async #change(change: (rows: AttachmentState[]) => AttachmentState[], call: Call): Promise<void> {
    await updateState(
      this.#home,
      ({ gateway }) => {
        if (gateway === null) throw notActivated(this.#home);
        gateway.attachments = change(gateway.attachments);
      },
      { lockTimeoutMs: call.lockTimeoutMs, signal: call.signal },
    );
  }
}
