/** How a connection of a gateway begins: its first frame, and what is answered when it is not taken. */
import type { WebSocket } from 'ws';
import { SgwError } from '../../kit/index.ts';
import { CONTROL_CLOSE, CONTROL_VERSIONS, readUpFrame, type HelloFrame } from '../../protocol/index.ts';

/** What is used of a WebSocket. */
export type ControlSocket = Pick<
  WebSocket,
  'on' | 'once' | 'off' | 'send' | 'close' | 'terminate' | 'ping' | 'readyState' | 'OPEN' | 'CLOSING' | 'bufferedAmount'
>;

const HELLO_MS = 10_000;

/**
 * The first frame, checked against the certificate's gateway; `versions` has then only the one that is spoken.
 * @throws invalid `bad-control-frame`; denied `gateway-differs`; unsupported `gateway-outdated`; timeout `hello-missing`
 */
export async function readHello(socket: ControlSocket, gatewayId: string): Promise<HelloFrame> {
  const text = await firstMessage(socket);
  const hello = text === undefined ? undefined : readUpFrame(text);
  if (hello?.kind !== 'hello')
    throw new SgwError('invalid', 'bad-control-frame', 'a connection of the control plane begins with hello');
  if (hello.gatewayId !== gatewayId)
    throw new SgwError(
      'denied',
      'gateway-differs',
      `the certificate is of gateway ${gatewayId}, and not of the one that speaks`,
    );
  const version = CONTROL_VERSIONS.find((ours) => hello.versions.includes(ours));
  if (version !== undefined) return { ...hello, versions: [version] };
  throw new SgwError('unsupported', 'gateway-outdated', `the gateway speaks other versions of the control plane`, {
    hint: 'Update sgw on its machine.',
    details: { gatewayId, versions: CONTROL_VERSIONS.map(String) },
  });
}

/** Tells why, and closes. */
export function refuseConnection(socket: ControlSocket, failure: SgwError): void {
  if (socket.readyState !== socket.OPEN) return;
  socket.send(JSON.stringify({ kind: 'refused', error: failure.toDocument() }));
  socket.close(failure.code === 'service-draining' ? CONTROL_CLOSE.draining : CONTROL_CLOSE.refused);
}

/** Undefined when it is no text. */
async function firstMessage(socket: ControlSocket): Promise<string | undefined> {
  return await new Promise<string | undefined>((resolve, reject) => {
    const end = (): void => {
      clearTimeout(timer);
      socket.off('message', onMessage);
      socket.off('close', onClose);
    };
    const onMessage = (data: unknown, isBinary: boolean): void => {
      end();
      resolve(isBinary ? undefined : (data as Buffer).toString('utf8'));
    };
    const onClose = (): void => {
      end();
      reject(new SgwError('aborted', 'connection-closed', 'the gateway closed the connection before it began'));
    };
    const timer = setTimeout(() => {
      end();
      reject(new SgwError('timeout', 'hello-missing', 'the gateway opened a connection and said nothing'));
    }, HELLO_MS);
    socket.on('message', onMessage);
    socket.once('close', onClose);
  });
}
