/** TLS of a client: the server proves itself by a certificate, or both by a pre-shared key. */
import { isIP, type Socket } from 'node:net';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { SgwError } from '../../kit/index.ts';
import { PSK_CIPHERS, type PreSharedKey } from '../psk.ts';

export interface ClientTls {
  /** PEM: who signs servers' certificates; absent: those that the system trusts. */
  readonly ca?: Buffer;
  /** PEM: what the client proves itself by, where the server asks for it. */
  readonly certificate?: Buffer;
  readonly key?: Buffer;
  /** In place of certificates. */
  readonly psk?: PreSharedKey;
  /** The name that the server's certificate must have, where that is not the host that was connected to. */
  readonly serverName?: string;
}

/** Resolves when the server has proved itself. `host`: where it was connected to. @throws denied `nbd-tls` */
export async function secureClient(socket: Socket, tls: ClientTls, host: string): Promise<TLSSocket> {
  const secured = connect({ socket, ...optionsOf(tls, host) });
  await new Promise<void>((resolve, reject) => {
    const fail = (error: Error): void => {
      secured.destroy();
      reject(
        new SgwError('denied', 'nbd-tls', `TLS with the NBD server failed: ${error.message}`, {
          hint: 'Check --tls-ca, --tls-server-name and what the client proves itself by.',
          cause: error,
        }),
      );
    };
    const closed = (): void => {
      fail(new Error('the server left'));
    };
    secured.once('error', fail);
    secured.once('close', closed);
    secured.once('secureConnect', () => {
      secured.off('error', fail);
      secured.off('close', closed);
      secured.on('error', () => undefined);
      resolve();
    });
  });
  return secured;
}

function optionsOf({ ca, certificate, key, psk, serverName }: ClientTls, host: string): ConnectionOptions {
  if (psk !== undefined)
    return {
      minVersion: 'TLSv1.2',
      maxVersion: 'TLSv1.2',
      ciphers: PSK_CIPHERS,
      pskCallback: () => ({ identity: psk.user, psk: psk.key }),
      // Both sides have proved the key; there is no certificate to look at.
      checkServerIdentity: () => undefined,
    };
  const name = serverName ?? host;
  return {
    minVersion: 'TLSv1.2',
    host: name,
    ...(isIP(name) === 0 ? { servername: name } : {}),
    ...(ca === undefined ? {} : { ca }),
    ...(certificate === undefined || key === undefined ? {} : { cert: certificate, key }),
  };
}
