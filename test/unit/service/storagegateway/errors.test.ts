/** Every failure that sgw knows becomes an error that the published model has. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { ERROR_KINDS, SgwError, type ErrorKind } from '../../../../src/core/kit/index.ts';
import {
  answerTo,
  answerToServer,
  CODES,
  NotAuthenticated,
  RequestRefused,
} from '../../../../src/core/service/aws/storagegateway/errors.ts';
import { ERROR_CODES } from '../../../../src/core/service/aws/storagegateway/model-names.ts';
import { ValidationError } from '../../../../src/core/service/aws/storagegateway/shapes.ts';

const document = readFileSync(new URL('../../../../docs/ERRORS.md', import.meta.url), 'utf8');
const documented = [...document.matchAll(/^\| `([a-z0-9-]+)` +\| `(\w+)` /gm)].map(
  ([, code = '', kind = '']) => [code, kind as ErrorKind] as const,
);

interface Body {
  readonly __type: string;
  readonly message: string;
  readonly error: { readonly errorCode: string; readonly errorDetails: object };
}

describe('a failure', () => {
  it('of any code that there is has an exception and a code of the model', () => {
    expect(documented.length).toBeGreaterThan(200);
    for (const [code, kind] of documented) {
      const { status, body } = answerTo('ListGateways', new SgwError(kind, code, 'what went wrong'));
      const { __type, error } = body as Body;
      expect([__type, status], code).toEqual(
        status === 500 ? ['InternalServerError', 500] : ['InvalidGatewayRequestException', 400],
      );
      expect(ERROR_CODES, code).toContain(error.errorCode);
      expect(error.errorDetails).toEqual({});
    }
  });

  it('of any kind has one, also of a code that this version does not know', () => {
    for (const kind of Object.keys(ERROR_KINDS) as ErrorKind[]) {
      const { body } = answerTo('ListGateways', new SgwError(kind, 'quite-new', 'x'));
      expect(ERROR_CODES).toContain((body as Body).error.errorCode);
    }
  });

  it('has the code that programs wait for', () => {
    for (const [code, errorCode] of [
      ['gateway-not-connected', 'GatewayNotConnected'],
      ['gateway-busy', 'GatewayProxyNetworkConnectionBusy'],
      ['clients-connected', 'VolumeInUse'],
      ['log-full', 'StagingAreaFull'],
      ['snapshot-pending', 'SnapshotInProgress'],
      ['export-denied', 'CannotExportSnapshot'],
      ['activation-key-expired', 'ActivationKeyExpired'],
      ['target-exists', 'TargetAlreadyExists'],
    ] as const)
      expect(CODES[code]).toBe(errorCode);
    expect(answerTo('', new RequestRefused('DiskDoesNotExist', 'x')).body).toMatchObject({
      error: { errorCode: 'DiskDoesNotExist' },
    });
  });

  it('inside the service tells nothing of the inside', () => {
    const inside = new SgwError('internal', 'assertion', 'assertion failed: /var/lib/secret');
    for (const error of [inside, new Error('/var/lib/secret'), new SgwError('corrupt', 'state-damaged', '/var/lib')]) {
      const { status, body } = answerTo('CreateSnapshot', error);
      expect(status).toBe(500);
      expect(JSON.stringify(body)).not.toContain('/var');
    }
  });

  it('of the store is one that can be repeated, for the operations that say so', () => {
    const away = new SgwError('unavailable', 'store-unreachable', 'x');
    expect(answerTo('CreateSnapshot', away)).toMatchObject({
      status: 503,
      body: { __type: 'ServiceUnavailableError' },
    });
    expect(answerTo('ListVolumes', away)).toMatchObject({ status: 500, body: { __type: 'InternalServerError' } });
  });

  it('of a signature, of the model and of the server is as the other APIs of AWS have it', () => {
    const notSigned = new NotAuthenticated(new SgwError('denied', 'signature-missing', 'x'));
    expect(answerTo('', notSigned)).toMatchObject({
      status: 403,
      body: { __type: 'MissingAuthenticationTokenException' },
    });
    expect(answerTo('', new ValidationError('x')).body).toMatchObject({ __type: 'ValidationException' });
    const draining = new SgwError('unavailable', 'service-draining', 'x');
    expect(answerToServer(draining)).toMatchObject({ status: 503 });
    expect(answerToServer(Object.assign(new Error('x'), { statusCode: 413 }))).toMatchObject({ status: 413 });
    expect(answerToServer(new Error('x'))).toMatchObject({ status: 500 });
  });
});
