/** TLS for NBD: the socket of a client that said STARTTLS becomes a TLS one (X.509, or pre-shared keys). */
import type { Socket } from 'node:net';
import { createSecureContext, TLSSocket, type SecureContext } from 'node:tls';
import { SgwError } from '../kit/index.ts';
import { badTls, PSK_CIPHERS, pskLines, pskOf } from './psk.ts';

export interface TlsFiles {
  /** PEM. */
  readonly certificate?: Buffer;
  readonly key?: Buffer;
  /** PEM: who signs clients' certificates. With it, clients need one. */
  readonly clientCa?: Buffer;
  /** Lines of `user:key in hex`, as GnuTLS's psktool writes them. Without `clientCa`, every client needs one of them. */
  readonly psk?: string;
}

export interface TlsSetup {
  readonly context: SecureContext;
  readonly needsClientCertificate: boolean;
  /** Where pre-shared keys are all that proves clients, each needs one, also beside a certificate of the server. */
  readonly needsKey: boolean;
  readonly psk: ReadonlyMap<string, Buffer> | undefined;
}

const HANDSHAKE_MS = 10_000;
/** @throws invalid `bad-tls` when certificate, key or PSK file can not be used */
export function tlsSetup(files: TlsFiles): TlsSetup {
  const psk = files.psk === undefined ? undefined : parsePsk(files.psk);
  const isCertified = files.certificate !== undefined && files.key !== undefined;
  if (!isCertified && psk === undefined)
    throw badTls('TLS needs a certificate with its key, or pre-shared keys', undefined);
  const needsKey = psk !== undefined && files.clientCa === undefined;
  try {
    const context = createSecureContext({
      minVersion: 'TLSv1.2',
      ...(isCertified ? { cert: files.certificate, key: files.key } : {}),
      ...(files.clientCa === undefined ? {} : { ca: files.clientCa }),
      // RSA-PSK would ask for a certificate beside the key.
      ...(psk === undefined ? {} : { ciphers: needsKey ? PSK_CIPHERS : `${PSK_CIPHERS}:HIGH:!aNULL:!kRSAPSK` }),
      // TLS 1.3 asks for the key of whatever identity a client names, and then goes on by certificate where that proves nothing.
      ...(psk === undefined ? {} : { maxVersion: 'TLSv1.2' as const }),
    });
    return { context, needsClientCertificate: files.clientCa !== undefined, needsKey, psk };
  } catch (error) {
    throw badTls('certificate, key or CA can not be used', error);
  }
}

function parsePsk(text: string): Map<string, Buffer> {
  const keys = new Map<string, Buffer>();
  for (const line of pskLines(text)) {
    const known = pskOf(line);
    if (known === undefined) throw badTls('the file of pre-shared keys has a line that is not user:hex', undefined);
    keys.set(known.user, known.key);
  }
  return keys;
}

/** Resolves when the handshake is done, with who the client is: the PSK identity, or the certificate's common name. */
export async function secure(
  socket: Socket,
  setup: TlsSetup,
): Promise<{ readonly socket: Socket; readonly user: string | undefined }> {
  const { context, needsClientCertificate, needsKey, psk } = setup;
  let identity: string | undefined;
  const secured = new TLSSocket(socket, {
    isServer: true,
    secureContext: context,
    requestCert: needsClientCertificate,
    rejectUnauthorized: needsClientCertificate,
    ...(psk === undefined
      ? {}
      : {
          pskCallback: (_socket: TLSSocket, user: string) => {
            identity = user;
            return psk.get(user) ?? null;
          },
        }),
  });
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(new SgwError('timeout', 'tls-timeout', 'the TLS handshake took too long'));
    }, HANDSHAKE_MS);
    const fail = (error: Error): void => {
      clearTimeout(timer);
      reject(error);
    };
    secured.once('error', fail);
    secured.once('close', () => {
      fail(new SgwError('aborted', 'tls-closed', 'the client left during the TLS handshake'));
    });
    secured.once('secure', () => {
      clearTimeout(timer);
      secured.removeAllListeners('close');
      secured.off('error', fail);
      secured.on('error', () => undefined);
      // What is no TLS any more ends only sockets that a server of node:tls made; here it would leave the connection standing.
      secured.on('_tlsError', () => secured.destroy());
      resolve();
    });
  });
  // Named by the client; proven where its key made those of the connection.
  const user = secured.getCipher().name.includes('PSK') ? identity : undefined;
  if (needsClientCertificate && user === undefined && !isVerified(secured)) {
    secured.destroy();
    throw new SgwError('denied', 'tls-client', 'the client has no certificate that this server trusts');
  }
  if (needsKey && user === undefined) {
    secured.destroy();
    throw new SgwError('denied', 'tls-client', 'the client has no pre-shared key');
  }
  return { socket: secured, user: user ?? commonName(secured) };
}

/** `authorized` is set only by servers of node:tls; here the context has verified, and its word is asked for. */
function isVerified(socket: TLSSocket): boolean {
  const handle = (socket as unknown as { _handle?: { verifyError(): unknown } })._handle;
  return Object.keys(socket.getPeerCertificate()).length > 0 && (handle?.verifyError() ?? null) === null;
}

function commonName(socket: TLSSocket): string | undefined {
  const name = socket.getPeerCertificate().subject as { CN?: string | string[] } | undefined;
  return Array.isArray(name?.CN) ? name.CN[0] : name?.CN;
}
