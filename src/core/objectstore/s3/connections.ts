/**
 * Connections to the server, kept open between requests. A request that is not answered drops all that lie idle: what ended
 * it, such as a way that was gone for a while, may have ended them as well without a word, and each would cost the next try.
 * So after an outage a call, tried again, loses one try to it, however many connections there were.
 */
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import type { S3ClientConfig } from '@aws-sdk/client-s3';

type Agents = Extract<NonNullable<S3ClientConfig['requestHandler']>, { httpAgent?: unknown }>;

export class Connections {
  readonly #http: HttpAgent;
  readonly #https: HttpsAgent;

  constructor(connectionsMax: number) {
    const options = { keepAlive: true, maxSockets: connectionsMax, scheduling: 'lifo' } as const;
    this.#http = new HttpAgent(options);
    this.#https = new HttpsAgent(options);
  }

  /** For the SDK's client, which destroys them with itself. */
  get agents(): Pick<Agents, 'httpAgent' | 'httpsAgent'> {
    return { httpAgent: this.#http, httpsAgent: this.#https };
  }

  /** Closes those that no request uses now. */
  dropIdle(): void {
    for (const { freeSockets } of [this.#http, this.#https])
      for (const sockets of Object.values(freeSockets)) for (const socket of sockets ?? []) socket.destroy();
  }
}
