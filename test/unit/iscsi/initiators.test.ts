/**
 * Logins as initiators in use do them: their keys, order, flags and numbers, from their sources (open-iscsi, libiscsi, iPXE) or from
 * public captures (ESXi, Windows).
 */
import { describe, expect, it } from 'vitest';
import { chapAnswer, valueOf } from './login-builder.ts';
import {
  LoginScene,
  OPERATIONAL_TO_FULL,
  SECURITY,
  SECURITY_TO_FULL,
  SECURITY_TO_OPERATIONAL,
  TARGET,
  type Exchange,
} from './login-scene.ts';

const done = ({ step }: Exchange): unknown => (step.kind === 'done' ? step.result : step);

const OPEN_ISCSI_OPERATIONAL = [
  'HeaderDigest=None,CRC32C',
  'DataDigest=None',
  'DefaultTime2Wait=2',
  'DefaultTime2Retain=0',
  'IFMarker=No',
  'OFMarker=No',
  'ErrorRecoveryLevel=0',
  'InitialR2T=No',
  'ImmediateData=Yes',
  'MaxBurstLength=16776192',
  'FirstBurstLength=262144',
  'MaxOutstandingR2T=1',
  'MaxConnections=1',
  'DataPDUInOrder=Yes',
  'DataSequenceInOrder=Yes',
  'MaxRecvDataSegmentLength=262144',
];

describe('open-iscsi', () => {
  const fields = { itt: 0, cid: 0, cmdSn: 1, expStatSn: 0 };
  const names = ['InitiatorName=iqn.1993-08.org.debian:01:f', 'InitiatorAlias=host', `TargetName=${TARGET}`];

  it('logs in without authentication', async () => {
    const scene = new LoginScene({ alias: 'vol1' });
    const first = await scene.send(
      SECURITY_TO_OPERATIONAL,
      [...names, 'SessionType=Normal', 'AuthMethod=None'],
      fields,
    );
    expect(first.response).toMatchObject({ transit: true, csg: 0, nsg: 1, tsih: 0, statSn: 0 });
    expect(first.response.keys).toEqual(['TargetAlias=vol1', 'TargetPortalGroupTag=1', 'AuthMethod=None']);
    const last = await scene.send(OPERATIONAL_TO_FULL, OPEN_ISCSI_OPERATIONAL, { ...fields, expStatSn: 1 });
    expect(last.response.keys).toEqual([
      'HeaderDigest=None',
      'DataDigest=None',
      'DefaultTime2Wait=2',
      'DefaultTime2Retain=0',
      'IFMarker=No',
      'OFMarker=No',
      'ErrorRecoveryLevel=0',
      'InitialR2T=No',
      'ImmediateData=Yes',
      'MaxBurstLength=16776192',
      'FirstBurstLength=262144',
      'MaxOutstandingR2T=1',
      'MaxConnections=1',
      'DataPDUInOrder=Yes',
      'DataSequenceInOrder=Yes',
      'MaxRecvDataSegmentLength=262144',
    ]);
    expect(last.response).toMatchObject({ expCmdSn: 1, statSn: 1, transit: true, nsg: 3 });
    expect(done(last)).toMatchObject({ initiatorAlias: 'host', cid: 0, firstCmdSn: 1, nextStatSn: 2 });
  });

  it('logs in with CHAP in both directions', async () => {
    const scene = new LoginScene({
      chap: {
        initiators: [{ user: 'user', secret: Buffer.from('twelve bytes') }],
        target: { user: 'user_in', secret: Buffer.from('twelve other') },
      },
    });
    await scene.send(SECURITY_TO_OPERATIONAL, [...names, 'SessionType=Normal', 'AuthMethod=CHAP'], fields);
    const challenged = await scene.send(SECURITY, ['CHAP_A=8,7,6,5'], fields);
    const { keys } = challenged.response;
    expect(valueOf(keys, 'CHAP_A')).toBe('8');
    const challenge = Buffer.from(valueOf(keys, 'CHAP_C')!.slice(2), 'hex');
    const answer = chapAnswer('8', Number(valueOf(keys, 'CHAP_I')), 'twelve bytes', challenge);
    const proved = await scene.send(
      SECURITY_TO_OPERATIONAL,
      ['CHAP_N=user', `CHAP_R=0x${answer.toString('hex')}`, 'CHAP_I=17', `CHAP_C=0x${'5a'.repeat(32)}`],
      fields,
    );
    const proof = chapAnswer('8', 17, 'twelve other', Buffer.alloc(32, 0x5a)).toString('hex');
    expect(proved.response.keys).toEqual(['CHAP_N=user_in', `CHAP_R=0x${proof}`]);
    const last = await scene.send(OPERATIONAL_TO_FULL, OPEN_ISCSI_OPERATIONAL, fields);
    expect(done(last)).toMatchObject({ kind: 'normal', user: 'user' });
  });

  it('begins discovery without an operational stage', async () => {
    const scene = new LoginScene();
    const keys = ['InitiatorName=iqn.1993-08.org.debian:01:f', 'SessionType=Discovery', 'AuthMethod=None'];
    const only = await scene.send(SECURITY_TO_FULL, keys, fields);
    expect(only.response).toMatchObject({ transit: true, csg: 0, nsg: 3, keys: ['AuthMethod=None'] });
    expect(done(only)).toMatchObject({ kind: 'discovery' });
  });
});

describe('libiscsi', () => {
  const names = ['InitiatorName=iqn.2008-11.org.linux-kvm:vm', `TargetName=${TARGET}`, 'SessionType=Normal'];
  const operational = [
    'HeaderDigest=None,CRC32C',
    'DataDigest=None,CRC32C',
    'InitialR2T=No',
    'ImmediateData=Yes',
    'MaxBurstLength=262144',
    'FirstBurstLength=262144',
    'DefaultTime2Wait=2',
    'DefaultTime2Retain=0',
    'MaxOutstandingR2T=1',
    'ErrorRecoveryLevel=0',
    'IFMarker=No',
    'OFMarker=No',
    'MaxConnections=1',
    'MaxRecvDataSegmentLength=262144',
    'DataPDUInOrder=Yes',
    'DataSequenceInOrder=Yes',
  ];
  const fields = { itt: 0x6b8b4567, cid: 0, cmdSn: 0x327b23c6, expStatSn: 0 };

  it('logs in with one request when it has no user', async () => {
    const scene = new LoginScene();
    const only = await scene.send(OPERATIONAL_TO_FULL, [...names, ...operational], fields);
    expect(only.response).toMatchObject({ transit: true, expCmdSn: 0x327b23c6 });
    expect(done(only)).toMatchObject({
      firstCmdSn: 0x327b23c6,
      session: { initialR2t: false, immediateData: true, firstBurstLength: 262144 },
      connection: { maxSendLength: 262144 },
    });
  });

  it('says its names again when it offered CHAP and the target wants none', async () => {
    const scene = new LoginScene();
    const first = await scene.send(SECURITY_TO_OPERATIONAL, [...names, 'AuthMethod=CHAP,None'], fields);
    expect(first.response).toMatchObject({ transit: true, nsg: 1 });
    const last = await scene.send(OPERATIONAL_TO_FULL, [...names, ...operational], fields);
    expect(done(last)).toMatchObject({ kind: 'normal', target: TARGET });
  });
});

describe('ESXi', () => {
  /** The data segment of a discovery login, as captured, without its padding. */
  const captured =
    '496e69746961746f724e616d653d69716e2e313939382d30312e636f6d2e766d776172653a7764632d7473652d683137312d336330306439' +
    '63650053657373696f6e547970653d446973636f76657279004865616465724469676573743d4e6f6e6500446174614469676573743d4e6f' +
    '6e650044656661756c7454696d6532576169743d300044656661756c7454696d653252657461696e3d300049464d61726b65723d4e6f004f' +
    '464d61726b65723d4e6f004572726f725265636f766572794c6576656c3d30004d617852656376446174615365676d656e744c656e677468' +
    '3d333237363800';

  it('begins discovery with one operational request', async () => {
    const scene = new LoginScene();
    const data = Buffer.from(captured, 'hex');
    expect(data).toHaveLength(0xe7);
    const only = await scene.send(OPERATIONAL_TO_FULL, data, {
      isid: '00023d000000',
      itt: 0,
      cid: 0,
      cmdSn: 1,
      expStatSn: 0,
      opcode: 0x03,
    });
    expect(only.response.keys).toEqual([
      'HeaderDigest=None',
      'DataDigest=None',
      'DefaultTime2Wait=0',
      'DefaultTime2Retain=0',
      'IFMarker=No',
      'OFMarker=No',
      'ErrorRecoveryLevel=0',
      'MaxRecvDataSegmentLength=262144',
    ]);
    expect(done(only)).toMatchObject({
      kind: 'discovery',
      initiator: 'iqn.1998-01.com.vmware:wdc-tse-h171-3c00d9ce',
      connection: { maxSendLength: 32768 },
    });
  });
});

describe('Windows', () => {
  const fields = { isid: '400001370000', itt: 1, cid: 1, cmdSn: 1, expStatSn: 1 };
  const initiator = 'InitiatorName=iqn.1991-05.com.microsoft:host';

  it('logs in, and is told the portal group with the first response', async () => {
    const scene = new LoginScene({ alias: 'vol1' });
    const first = await scene.send(
      SECURITY_TO_OPERATIONAL,
      [initiator, 'SessionType=Normal', `TargetName=${TARGET}`, 'AuthMethod=None'],
      fields,
    );
    expect(first.response).toMatchObject({ transit: true, csg: 0, nsg: 1, statSn: 1 });
    expect(valueOf(first.response.keys, 'TargetPortalGroupTag')).toBe('1');
    const last = await scene.send(
      OPERATIONAL_TO_FULL,
      [
        'HeaderDigest=None,CRC32C',
        'DataDigest=None,CRC32C',
        'ErrorRecoveryLevel=2',
        'InitialR2T=No',
        'ImmediateData=Yes',
        'MaxRecvDataSegmentLength=65536',
        'MaxBurstLength=262144',
        'FirstBurstLength=65536',
        'MaxConnections=32',
        'DataPDUInOrder=Yes',
        'DataSequenceInOrder=Yes',
        'DefaultTime2Wait=0',
        'DefaultTime2Retain=60',
        'MaxOutstandingR2T=16',
      ],
      { ...fields, expStatSn: 2 },
    );
    expect(done(last)).toMatchObject({
      isid: '400001370000',
      cid: 1,
      session: {
        errorRecoveryLevel: 0,
        maxConnections: 8,
        maxOutstandingR2t: 16,
        initialR2t: false,
        defaultTime2Retain: 0,
      },
      connection: { headerDigest: false, dataDigest: false, maxSendLength: 65536 },
    });
  });

  it('begins discovery, and is answered nothing but what it offered', async () => {
    const scene = new LoginScene();
    await scene.send(SECURITY_TO_OPERATIONAL, [initiator, 'SessionType=Discovery', 'AuthMethod=None'], fields);
    const offer = [
      'HeaderDigest=None,CRC32C',
      'DataDigest=None,CRC32C',
      'MaxRecvDataSegmentLength=65536',
      'DefaultTime2Wait=0',
      'DefaultTime2Retain=60',
    ];
    const last = await scene.send(OPERATIONAL_TO_FULL, offer, { ...fields, expStatSn: 2 });
    expect(last.response.keys).toEqual([
      'HeaderDigest=None',
      'DataDigest=None',
      'DefaultTime2Wait=0',
      'DefaultTime2Retain=0',
      'MaxRecvDataSegmentLength=262144',
    ]);
    expect(last.step.kind).toBe('done');
  });
});

describe('iPXE', () => {
  it('logs in with unsolicited data turned off', async () => {
    const scene = new LoginScene();
    const fields = { itt: 0x18ae0000, cid: 0, cmdSn: 0, expStatSn: 0, opcode: 0x43 };
    await scene.send(
      SECURITY_TO_OPERATIONAL,
      ['InitiatorName=iqn.2010-04.org.ipxe:h', `TargetName=${TARGET}`, 'SessionType=Normal', 'AuthMethod=CHAP,None'],
      fields,
    );
    const last = await scene.send(
      OPERATIONAL_TO_FULL,
      [
        'HeaderDigest=None',
        'DataDigest=None',
        'MaxConnections=1',
        'InitialR2T=Yes',
        'ImmediateData=No',
        'MaxRecvDataSegmentLength=8192',
        'MaxBurstLength=262144',
        'DefaultTime2Wait=0',
        'DefaultTime2Retain=0',
        'MaxOutstandingR2T=1',
        'DataPDUInOrder=Yes',
        'DataSequenceInOrder=Yes',
        'ErrorRecoveryLevel=0',
      ],
      fields,
    );
    expect(done(last)).toMatchObject({ session: { initialR2t: true, immediateData: false }, firstCmdSn: 0 });
  });
});
