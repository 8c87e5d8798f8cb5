/**
 * The connections of a gateway to the other members of its group: one for each, over TLS 1.3, each side known by its identity key
 * and nothing else.
 *
 * Of a pair the one with the lower id dials; the other does so too when it has waited for long, since only one direction may be
 * open. A connection that is made takes the place of the one there was: that may be of a process that has ended.
 */
import { createServer, connect, type Server, type TLSSocket } from 'node:tls';
import type { AddressInfo } from 'node:net';
import { SgwError, type Clock, type Logger, type Random } from '../../kit/index.ts';
import type { GroupMember, PrivateKey } from '../../protocol/index.ts';
import { listenError, tcpAddress, tcpPlace } from '../../sockets/index.ts';
import type { PeerEvents, PeerNetwork } from '../messages.ts';
import { certifiedFingerprint, memberCertificate } from './certificate.ts';
import { Dialler } from './dialler.ts';
import { lost, TlsLink } from './link.ts';

const PROTOCOL = 'sgw-peer/1';
/** From a connection to its proof of who it is. */
const HANDSHAKE_MS = 5000;
/** Those that have not proved who they are included, which have HANDSHAKE_MS for it. */
const CONNECTIONS_MAX = 256;

export interface PeerNetworkParts {
  readonly gatewayId: string;
  readonly key: PrivateKey;
  /** `HOST:PORT`; port 0: the system's choice. */
  readonly listen: string;
  /** A link that is silent for so long has ended: longer than members are silent that are well. */
  readonly silenceMs: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** @see PeerNetwork */
export class TlsPeerNetwork implements PeerNetwork {
  readonly #parts: PeerNetworkParts;
  readonly #links = new Map<string, TlsLink>();
  readonly #dialler: Dialler;
  readonly #dialled = new Set<TLSSocket>();
  #members: readonly GroupMember[] = [];
  #events: PeerEvents | undefined;
  #server: Server | undefined;
  #certificate = '';
  #isStopped = false;

  constructor(parts: PeerNetworkParts) {
    this.#parts = parts;
    this.#dialler = new Dialler(parts, {
      dial: async (member, signal) => this.#dial(member, signal),
      isLinked: (gatewayId) => this.#links.has(gatewayId),
    });
  }

  /** @throws unavailable `address-in-use`, `address-unknown` */
  async start(events: PeerEvents): Promise<{ readonly address: string }> {
    const { key, gatewayId, listen } = this.#parts;
    this.#events = events;
    this.#certificate = await memberCertificate(key, gatewayId);
    const server = createServer(
      {
        ...this.#identity(),
        requestCert: true,
        handshakeTimeout: HANDSHAKE_MS,
        noDelay: true,
      },
      (socket) => {
        this.#accept(socket);
      },
    );
    this.#server = server;
    server.maxConnections = CONNECTIONS_MAX;
    server.on('tlsClientError', () => undefined);
    const { host, port } = tcpAddress(listen);
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) => {
        reject(listenError(listen, 'sgw configure --peer-listen', error));
      });
      server.listen(port, host, resolve);
    });
    server.on('error', () => undefined);
    const { port: actual } = server.address() as AddressInfo;
    return { address: tcpPlace({ host, port: actual }) };
  }

  setMembers(members: readonly GroupMember[]): void {
    this.#members = members.filter(({ gatewayId }) => gatewayId !== this.#parts.gatewayId);
    for (const link of this.#links.values()) {
      if (this.#members.some(({ gatewayId }) => gatewayId === link.gatewayId)) continue;
      link.close(lost(link.gatewayId, 'it is not in the group any more'));
    }
    this.#dialler.setMembers(this.#members);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#dialler.stop();
    const reason = new SgwError('aborted', 'gateway-stopping', 'this gateway is being stopped');
    for (const link of this.#links.values()) link.close(reason);
    for (const socket of this.#dialled) socket.destroy();
    const server = this.#server;
    if (server === undefined) return;
    await new Promise<void>((resolve) =>
      server.close(() => {
        resolve();
      }),
    );
  }

  /** What both sides of a connection are made with. Who the other one is, is judged by its key afterwards. */
  #identity(): {
    key: string;
    cert: string;
    rejectUnauthorized: false;
    minVersion: 'TLSv1.3';
    ALPNProtocols: string[];
  } {
    return {
      key: this.#parts.key.pem(),
      cert: this.#certificate,
      rejectUnauthorized: false,
      minVersion: 'TLSv1.3',
      ALPNProtocols: [PROTOCOL],
    };
  }

  #accept(socket: TLSSocket): void {
    socket.on('error', () => undefined);
    const fingerprint = certifiedFingerprint(socket.getPeerX509Certificate());
    const member = this.#members.find(({ keyFingerprint }) => keyFingerprint === fingerprint);
    if (this.#isStopped || member === undefined || socket.alpnProtocol !== PROTOCOL) {
      this.#parts.log.warn({ remote: socket.remoteAddress }, 'refused a connection that is of no member of the group');
      socket.destroy();
      return;
    }
    // The one that dials knows that it was taken by this byte, and not before.
    socket.write(WELCOME);
    this.#link(socket, member.gatewayId);
  }

  /** Resolves when the link stands. @throws unavailable `member-unreachable`; denied `member-key-wrong` */
  async #dial(member: GroupMember, signal: AbortSignal): Promise<void> {
    const { address, gatewayId, keyFingerprint } = member;
    if (address === null) throw unreachable(member, 'it has not said where it listens');
    const socket = await this.#connected(member, address.peer, signal);
    if (this.#isStopped || certifiedFingerprint(socket.getPeerX509Certificate()) !== keyFingerprint) {
      socket.destroy();
      throw new SgwError('denied', 'member-key-wrong', `who answers at ${address.peer} is not gateway ${gatewayId}`, {
        hint: 'Another gateway may have that address now; the right one writes its own into the group when it starts.',
        details: { gatewayId, address: address.peer },
      });
    }
    this.#link(socket, gatewayId);
  }

  /** A connection whose other side has taken it: it has sent the first byte. */
  async #connected(member: GroupMember, place: string, signal: AbortSignal): Promise<TLSSocket> {
    const { host, port } = tcpAddress(place);
    const socket = connect({ host, port, ...this.#identity(), checkServerIdentity: () => undefined, servername: '' });
    this.#dialled.add(socket);
    const end = AbortSignal.any([signal, AbortSignal.timeout(HANDSHAKE_MS)]);
    try {
      await new Promise<void>((resolve, reject) => {
        const failed = (error?: Error): void => {
          reject(unreachable(member, error?.message ?? 'it ended the connection'));
        };
        socket.once('error', failed);
        socket.once('close', () => {
          failed();
        });
        socket.once('data', (chunk: Buffer) => {
          socket.pause();
          if (chunk.length > WELCOME.length) socket.unshift(chunk.subarray(WELCOME.length));
          resolve();
        });
        end.addEventListener('abort', () => {
          failed(new Error('it did not answer in time'));
        });
      });
    } catch (error) {
      socket.destroy();
      throw error;
    } finally {
      this.#dialled.delete(socket);
      socket.removeAllListeners('close');
      socket.removeAllListeners('error');
      socket.on('error', () => undefined);
    }
    return socket;
  }

  #link(socket: TLSSocket, gatewayId: string): void {
    const events = this.#events;
    if (events === undefined) return;
    const link = new TlsLink({
      socket,
      gatewayId,
      silenceMs: this.#parts.silenceMs,
      onMessage: events.message,
      onEnd: (ended, reason) => {
        if (this.#links.get(gatewayId) === ended) this.#links.delete(gatewayId);
        events.unlinked(ended, reason);
        this.#dialler.wake(gatewayId);
      },
    });
    this.#links.get(gatewayId)?.close(lost(gatewayId, 'it has connected anew'));
    this.#links.set(gatewayId, link);
    link.begin();
    events.linked(link);
  }
}

/** The first byte of who has accepted. */
const WELCOME = Buffer.from([1]);

const unreachable = ({ gatewayId, name }: GroupMember, why: string): SgwError =>
  new SgwError('unavailable', 'member-unreachable', `gateway ${name} (${gatewayId}) can not be reached: ${why}`, {
    hint: 'Is it running, and is its --peer-listen an address that the other members reach?',
    details: { gatewayId },
  });
