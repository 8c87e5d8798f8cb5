/** The local API of a gateway from afar: the service passes each call on over the connection that the gateway holds. */
import { SgwError, throwIfAborted } from '../kit/index.ts';
import type { CallContext, CallLine, CallRequest, Input, LocalApi, OperationName, Result } from '../localapi/index.ts';
import type { ServiceClient } from './client.ts';

/** Where the service takes an operation of a gateway: a `CallRequest`, answered in lines as over the socket (localapi/wire.ts). */
const operationPath = (gatewayId: string, operation: OperationName): string =>
  `/v1/gateways/${encodeURIComponent(gatewayId)}/operations/${operation}`;

export class RemoteGateway implements LocalApi {
  readonly #client: ServiceClient;
  readonly #gatewayId: string;

  /** The client stays the caller's to close, unless `ownsClient`. */
  constructor(client: ServiceClient, gatewayId: string) {
    this.#client = client;
    this.#gatewayId = gatewayId;
  }

  /** @throws what the gateway or the service answers; unavailable `service-unreachable` when the answer was cut off */
  async call<N extends OperationName>(name: N, input: Input<N>, context: CallContext): Promise<Result<N>> {
    const { signal, lockTimeoutMs } = context;
    const body: CallRequest = { input, lockTimeoutMs, secrets: [] };
    for await (const line of this.#client.lines(operationPath(this.#gatewayId, name), body, signal)) {
      const { error, progress, ...rest } = line as CallLine;
      if (error !== undefined) throw SgwError.fromDocument(error);
      if ('result' in rest) return rest.result as Result<N>;
      if (progress !== undefined) context.onProgress(progress);
    }
    throwIfAborted(signal);
    throw new SgwError('unavailable', 'service-unreachable', `the answer to ${name.replace('.', ' ')} was cut off`, {
      hint: 'Whether it was done is not known. Look before you try again.',
      details: { gatewayId: this.#gatewayId, operation: name },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client.close();
  }
}
