/** What comes of the keys that an initiator offers (RFC 7143, 13). */
import { describe, expect, it } from 'vitest';
import {
  DEFAULT_WISHES,
  isOperationalKey,
  Negotiation,
  SESSION_DEFAULTS,
  type SessionParameters,
  type Wishes,
} from '../../../src/core/iscsi/negotiation.ts';
import { TextError, type Pair } from '../../../src/core/iscsi/text.ts';

interface Options {
  readonly wishes?: Partial<Wishes>;
  readonly isDiscovery?: boolean;
  readonly existing?: SessionParameters;
}

function begin({ wishes, isDiscovery = false, existing }: Options = {}): Negotiation {
  return new Negotiation({ wishes: { ...DEFAULT_WISHES, ...wishes }, isDiscovery, existing });
}

const pairs = (offers: readonly string[]): Pair[] =>
  offers.map((offer) => {
    const at = offer.indexOf('=');
    return { key: offer.slice(0, at), value: offer.slice(at + 1) };
  });

const answers = (negotiation: Negotiation, ...offers: readonly string[]): string[] =>
  negotiation.answer(pairs(offers)).map(({ key, value }) => `${key}=${value}`);

describe('each key', () => {
  it.each([
    ['HeaderDigest=CRC32C,None', 'CRC32C'],
    ['HeaderDigest=None,CRC32C', 'None'],
    ['HeaderDigest=X-other,CRC32C', 'CRC32C'],
    ['HeaderDigest=crc32c', 'Reject'],
    ['DataDigest=CRC32C', 'CRC32C'],
    ['DataDigest=None', 'None'],
    ['MaxConnections=1', '1'],
    ['MaxConnections=32', '8'],
    ['MaxConnections=0', 'Reject'],
    ['MaxConnections=65536', 'Reject'],
    ['InitialR2T=No', 'No'],
    ['InitialR2T=Yes', 'Yes'],
    ['InitialR2T=Maybe', 'Reject'],
    ['ImmediateData=Yes', 'Yes'],
    ['ImmediateData=No', 'No'],
    ['MaxBurstLength=262144', '262144'],
    ['MaxBurstLength=16776192', '16776192'],
    ['MaxBurstLength=16777215', '16776704'],
    ['MaxBurstLength=511', 'Reject'],
    ['MaxBurstLength=16777216', 'Reject'],
    ['FirstBurstLength=65536', '65536'],
    ['FirstBurstLength=16777215', '262144'],
    ['DefaultTime2Wait=2', '2'],
    ['DefaultTime2Wait=0', '0'],
    ['DefaultTime2Wait=3601', 'Reject'],
    ['DefaultTime2Retain=20', '0'],
    ['MaxOutstandingR2T=1', '1'],
    ['MaxOutstandingR2T=64', '16'],
    ['DataPDUInOrder=No', 'Yes'],
    ['DataSequenceInOrder=No', 'Yes'],
    ['ErrorRecoveryLevel=2', '0'],
    ['ErrorRecoveryLevel=3', 'Reject'],
    ['TaskReporting=FastAbort,RFC3720', 'RFC3720'],
    ['TaskReporting=FastAbort', 'Reject'],
    ['iSCSIProtocolLevel=2', '1'],
    ['iSCSIProtocolLevel=0', '0'],
    ['iSCSIProtocolLevel=32', 'Reject'],
    ['IFMarker=No', 'No'],
    ['OFMarker=Yes', 'No'],
    ['IFMarkInt=2048~8192', 'Reject'],
    ['OFMarkInt=2048~8192', 'Reject'],
    ['X-com.example.thing=1', 'NotUnderstood'],
    ['RDMAExtensions=Yes', 'NotUnderstood'],
  ])('%s is answered with %s', (offer, answer) => {
    expect(answers(begin(), offer)).toEqual([`${offer.slice(0, offer.indexOf('='))}=${answer}`]);
  });

  it('that is a declaration, or an answer to one of ours, is not answered', () => {
    const negotiation = begin();
    expect(
      answers(
        negotiation,
        'MaxRecvDataSegmentLength=262144',
        'X#NodeArchitecture=linux',
        'TargetAlias=NotUnderstood',
        'InitialR2T=Irrelevant',
        'MaxBurstLength=Reject',
      ),
    ).toEqual([]);
    expect(negotiation.connection.maxSendLength).toBe(262144);
    expect(negotiation.session).toEqual(SESSION_DEFAULTS);
  });

  it.each(['511', '16777216', '0', 'many'])('MaxRecvDataSegmentLength=%s can not be declared', (value) => {
    expect(() => answers(begin(), `MaxRecvDataSegmentLength=${value}`)).toThrow(TextError);
  });

  it('that is known is an operational one', () => {
    expect(['MaxBurstLength', 'IFMarker', 'AuthMethod', 'X-a'].map(isOperationalKey)).toEqual([
      true,
      true,
      false,
      false,
    ]);
  });
});

describe('what was agreed on', () => {
  it('is the defaults of the RFC when nothing is offered', () => {
    const negotiation = begin();
    expect(negotiation.session).toEqual({
      maxConnections: 1,
      initialR2t: true,
      immediateData: true,
      maxBurstLength: 262144,
      firstBurstLength: 65536,
      maxOutstandingR2t: 1,
      defaultTime2Wait: 2,
      defaultTime2Retain: 20,
      dataPduInOrder: true,
      dataSequenceInOrder: true,
      errorRecoveryLevel: 0,
    });
    expect(negotiation.connection).toEqual({
      headerDigest: false,
      dataDigest: false,
      maxSendLength: 8192,
      maxReceiveLength: 8192,
    });
  });

  it('is what was answered, over several texts', () => {
    const negotiation = begin();
    answers(negotiation, 'HeaderDigest=CRC32C', 'InitialR2T=No', 'ImmediateData=No', 'MaxConnections=4');
    answers(negotiation, 'MaxBurstLength=1048576', 'FirstBurstLength=131072', 'MaxOutstandingR2T=2');
    answers(negotiation, 'DefaultTime2Wait=5', 'DefaultTime2Retain=60', 'ErrorRecoveryLevel=1');
    expect(negotiation.session).toMatchObject({
      maxConnections: 4,
      initialR2t: false,
      immediateData: false,
      maxBurstLength: 1048576,
      firstBurstLength: 131072,
      maxOutstandingR2t: 2,
      defaultTime2Wait: 5,
      defaultTime2Retain: 0,
      errorRecoveryLevel: 0,
    });
    expect(negotiation.connection).toMatchObject({ headerDigest: true, dataDigest: false });
  });

  it('never has a first burst that is longer than a burst, in whatever order they come', () => {
    const wide = begin();
    expect(answers(wide, 'FirstBurstLength=65536', 'MaxBurstLength=4096')).toEqual([
      'FirstBurstLength=4096',
      'MaxBurstLength=4096',
    ]);
    expect(wide.session).toMatchObject({ firstBurstLength: 4096, maxBurstLength: 4096 });
    const onlyMax = begin();
    answers(onlyMax, 'MaxBurstLength=1024');
    expect(onlyMax.session.firstBurstLength).toBe(1024);
  });

  it('keeps to narrower wishes', () => {
    const negotiation = begin({ wishes: { maxBurstLength: 65536, firstBurstLength: 8192, maxConnections: 1 } });
    expect(answers(negotiation, 'MaxBurstLength=262144', 'FirstBurstLength=65536', 'MaxConnections=8')).toEqual([
      'MaxBurstLength=65536',
      'FirstBurstLength=8192',
      'MaxConnections=1',
    ]);
  });

  it('can not be negotiated again', () => {
    const negotiation = begin();
    answers(negotiation, 'MaxBurstLength=262144');
    expect(() => answers(negotiation, 'MaxBurstLength=262144')).toThrow(/MaxBurstLength is negotiated twice/);
  });

  it('has what the target declares, once', () => {
    const negotiation = begin();
    expect(negotiation.declare()).toEqual([{ key: 'MaxRecvDataSegmentLength', value: '262144' }]);
    expect(negotiation.declare()).toEqual([]);
    expect(negotiation.connection.maxReceiveLength).toBe(262144);
  });
});

describe('a discovery session', () => {
  it('finds irrelevant what is about data, and agrees on the rest', () => {
    const negotiation = begin({ isDiscovery: true });
    const irrelevant = [
      'MaxConnections=2',
      'InitialR2T=No',
      'ImmediateData=Yes',
      'MaxBurstLength=512',
      'FirstBurstLength=512',
      'MaxOutstandingR2T=2',
      'DataPDUInOrder=Yes',
      'DataSequenceInOrder=Yes',
      'TaskReporting=RFC3720',
      'iSCSIProtocolLevel=1',
    ];
    const result = answers(negotiation, ...irrelevant, 'HeaderDigest=CRC32C', 'ErrorRecoveryLevel=0');
    expect(result.slice(0, -2)).toEqual(irrelevant.map((offer) => `${offer.slice(0, offer.indexOf('='))}=Irrelevant`));
    expect(result.slice(-2)).toEqual(['HeaderDigest=CRC32C', 'ErrorRecoveryLevel=0']);
    expect(negotiation.session).toEqual(SESSION_DEFAULTS);
  });
});

describe('a connection that is added to a session', () => {
  const existing: SessionParameters = { ...SESSION_DEFAULTS, maxConnections: 4, initialR2t: false };

  it('negotiates what is its own', () => {
    const negotiation = begin({ existing });
    expect(answers(negotiation, 'DataDigest=CRC32C', 'MaxRecvDataSegmentLength=4096')).toEqual(['DataDigest=CRC32C']);
    expect(negotiation.connection).toMatchObject({ dataDigest: true, maxSendLength: 4096 });
    expect(negotiation.session).toEqual(existing);
  });

  it('may say again what the session has agreed on, and nothing else', () => {
    const negotiation = begin({ existing });
    expect(answers(negotiation, 'MaxConnections=4', 'InitialR2T=Yes', 'MaxBurstLength=262144')).toEqual([
      'MaxConnections=4',
      'InitialR2T=Reject',
      'MaxBurstLength=262144',
    ]);
    expect(negotiation.session).toEqual(existing);
  });
});
