/**
 * A service whose server is killed between any two writes of a request to its store, at the command of a test; a second server
 * over the same store lives on. Which writes a request has is found by killing before each, until the request comes through.
 */
import { rmSync, writeFileSync } from 'node:fs';
import { Agent } from 'node:https';
import path from 'node:path';
import * as Ebs from '@aws-sdk/client-ebs';
import * as Sdk from '@aws-sdk/client-storage-gateway';
import { expect } from 'vitest';
import { HomeRig } from '../cli/gateway-rig.ts';
import { ServiceProcess, type Customer } from './service-process.ts';

const WRITES_MAX = 30;

export interface Clients {
  readonly ebs: Ebs.EBSClient;
  readonly gateways: Sdk.StorageGatewayClient;
}

export interface Killed<S, A> {
  /** What the request is about; made anew each time. */
  readonly prepare: () => Promise<S>;
  readonly ask: (clients: Clients, subject: S) => Promise<A>;
  readonly check: (answer: A, subject: S) => Promise<void>;
  /** Where it is asked again: at one of both servers, or at the one that was killed, which alone has the gateway. */
  readonly again?: 'either' | 'killed';
}

export class ServiceKills implements AsyncDisposable {
  readonly provider: HomeRig;
  readonly anna: Customer;
  readonly other: ServiceProcess;
  readonly #killFile: string;
  readonly #agent: Agent;
  readonly #opened: Clients[] = [];
  #first: ServiceProcess;

  private constructor(
    rig: { readonly provider: HomeRig; readonly killFile: string; readonly anna: Customer },
    first: ServiceProcess,
    other: ServiceProcess,
  ) {
    this.provider = rig.provider;
    this.#killFile = rig.killFile;
    this.anna = rig.anna;
    this.#first = first;
    this.other = other;
    this.#agent = new Agent({ ca: first.ca });
  }

  static async start(): Promise<ServiceKills> {
    const provider = new HomeRig('service');
    const killFile = path.join(provider.folder, 'kill');
    const first = await ServiceProcess.start(provider, { killFile });
    const other = await ServiceProcess.start(provider);
    return new ServiceKills({ provider, killFile, anna: await first.customer('anna') }, first, other);
  }

  /** That is killed, and started again. */
  get first(): ServiceProcess {
    return this.#first;
  }

  clientsOf({ ready }: ServiceProcess): Clients {
    const settings = {
      ...{ endpoint: ready.url, region: ready.region, credentials: this.anna, maxAttempts: 1 },
      requestHandler: { httpsAgent: this.#agent },
    };
    const clients = { ebs: new Ebs.EBSClient(settings), gateways: new Sdk.StorageGatewayClient(settings) };
    this.#opened.push(clients);
    return clients;
  }

  /** Before how many writes the request was killed, until it came through. */
  async killedAtEachWrite<S, A>({ prepare, ask, check, again = 'either' }: Killed<S, A>): Promise<number> {
    for (let writes = 0; writes < WRITES_MAX; writes++) {
      const subject = await prepare();
      const clients = this.clientsOf(this.#first);
      writeFileSync(this.#killFile, String(writes));
      const answer = await ask(clients, subject).catch(async (error: unknown) => {
        // Nothing else is to fail it.
        await this.#first.ended().catch(() => Promise.reject(error as Error));
        return undefined;
      });
      if (this.#first.isRunning && answer !== undefined) {
        rmSync(this.#killFile, { force: true });
        await check(answer, subject);
        return writes;
      }
      await this.#first.ended();
      const isByOther = again === 'either' && writes % 2 === 0;
      const retried = isByOther ? await ask(this.clientsOf(this.other), subject) : undefined;
      this.#first = await this.#first.again();
      await check(retried ?? (await ask(this.clientsOf(this.#first), subject)), subject);
      // And once more, at the one that did not answer it, where both can.
      const last = isByOther || again === 'killed' ? this.#first : this.other;
      await check(await ask(this.clientsOf(last), subject), subject);
    }
    return expect.unreachable('the request has more writes than that');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { ebs, gateways } of this.#opened) for (const client of [ebs, gateways]) client.destroy();
    this.#agent.destroy();
    await this.provider[Symbol.asyncDispose]();
  }
}
