/** ESP packets that others have published, with what is inside. */
import type { AeadAlgorithm } from "../../src/sys/mod.ts";

/** EspVector is one packet. */
export interface EspVector {
  readonly source: string;
  readonly algorithm: AeadAlgorithm;
  readonly key: string;
  readonly salt: string;
  /** Upper half of an extended sequence number; absent where there is none. */
  readonly high?: number;
  /** SPI, sequence number, IV, sealed text, ICV. */
  readonly packet: string;
  /** The text, with padding and trailer. */
  readonly text: string;
}

const DRAFT = "draft-mcgrew-gcm-test-01, case";
const KEY_5 = "3de09874b388e6491988d0c3607eae1f";
const KEY_3 = "abbccddef00112233445566778899aababbccddef00112233445566778899aab";

/** The draft's case 7 has a key of 192 bits, which nobody here offers. */
export const espVectors: readonly EspVector[] = [
  {
    source: `${DRAFT} 1`,
    algorithm: "aes-128-gcm",
    key: "4c80cdefbb5d10da906ac73c3613a634",
    salt: "2e443b68",
    high: 0x87654321,
    packet:
      "00004321000000004956ed7e3b244cfe" +
      "fecf537e729d5b07dc30df528dd22b768d1b98736696a6fd348509fa13ceac34cfa2436f14a3f3cf65925bf1f4a13c5d" +
      "15b21e1884f5ff6247aeabb786b93bce61bc17d768fd9732459018148f6cbe722fd04796562dfdb4",
    text:
      "45000048699a000080114db7c0a80102c0a801010a9bf15638d301000001000000000000045f736970045f7564700373" +
      "69700963796265726369747902646b000021000101020201",
  },
  {
    source: `${DRAFT} 2`,
    algorithm: "aes-128-gcm",
    key: "feffe9928665731c6d6a8f9467308308",
    salt: "cafebabe",
    packet:
      "0000a5f80000000afacedbaddecaf888" +
      "deb22cd9b07c72c16e3a65beeb8df304a5a5897d33ae530f1ba76d5d114d2a5c3de81827c10e9a4f51330d0eec416642" +
      "cfbb85a5b47e48a4ec3b9ba95d918bd183b70d3aa8bc6ee4c309e9d85a41ad4a",
    text:
      "4500003e698f000080114dccc0a80102c0a801010a980035002a2343b2d0010000010000000000000373697009637962" +
      "65726369747902646b00000100010001",
  },
  {
    source: `${DRAFT} 3`,
    algorithm: "aes-256-gcm",
    key: KEY_3,
    salt: "11223344",
    packet:
      "4a2cbfe3000000020102030405060708" +
      "ff425c9b724599df7a3bcd510194e00d6a78107f1b0b1cbf06efae9d65a5d763748a637985771d347f0545659f14e99d" +
      "ef842d8eb335f4eecfdbf831824b4c4915956c96",
    text: "4500003069a6400080062690c0a801029389155e0a9e008b2dc57ee0000000007002400020bf0000020405b40101040201020201",
  },
  {
    source: `${DRAFT} 4`,
    algorithm: "aes-128-gcm",
    key: "00".repeat(16),
    salt: "00000000",
    packet:
      "00000000000000010000000000000000" +
      "4688daf2f973a392732909c331d56d60f694abaa414b5e7ff5fdcdfff5e9a284456476492719ffb64de7d9dca1e1d894" +
      "bc3bd57873ed4d181d19d4d5c8c18af3f821d496eeb096e98ad2b69e4799c71d",
    text:
      "4500003c99c500008001cb7a40679318010101010800075c02004400616263646566676869" +
      "6a6b6c6d6e6f707172737475767761626364656667686901020201",
  },
  {
    source: `${DRAFT} 5`,
    algorithm: "aes-128-gcm",
    key: KEY_5,
    salt: "57690e43",
    high: 0x10101010,
    packet:
      "42f67e3f101010104e280000a2fca1a3" +
      "fba2caa4853cf9f0f22cb10d86dd83b0fec75691cf1a04b00d1138ec9c35791765acbd8701ad79845bf9fe3fba487bc9" +
      "1755e6662b4c8d0d1f5e22739530320ae0d731cc978ecafaeae88f00e80d6e48",
    text:
      "4500003c99c300008001cb7c40679318010101010800085c02004300616263646566676869" +
      "6a6b6c6d6e6f707172737475767761626364656667686901020201",
  },
  {
    source: `${DRAFT} 6`,
    algorithm: "aes-128-gcm",
    key: KEY_5,
    salt: "57690e43",
    high: 0x10101010,
    packet:
      "42f67e3f101010104e280000a2fca1a3" +
      "fba2ca845e5df9f0f22c3e6e86dd831e1fc65792cd1af9130e1379ed369f071f35e034be95f112e4e7d05d35",
    text: "4500001c42a200008001441f406793b6e00000020a00f5ff01020201",
  },
  {
    source: `${DRAFT} 8`,
    algorithm: "aes-128-gcm",
    key: "abbccddef00112233445566778899aab",
    salt: "decaf888",
    high: 0,
    packet:
      "0000010000000001cafedebaceface74" +
      "18a6fd42f72cbf4ab2a2ea901f73d814e3e7f243d95412e1c349c1d2fbec168f9190feebaf2cb01984e65863965d7472" +
      "b79da345e0e780191f0d2f0e0f496c226f2127b27db35724e7845d68651f57e65f354f75ff17015769623436",
    text:
      "4500004933ba00007f119106c3fb1d10c2b1d326c02831ce0035dd7b800302d500004e20001e8c18d75b81dc91baa047" +
      "6b91b924b280389d92c963bac046ec959b6266c04722b14923010101",
  },
  {
    source: `${DRAFT} 9`,
    algorithm: "aes-256-gcm",
    key: KEY_3,
    salt: "73616c74",
    high: 0x156f3126,
    packet:
      "17405e67dd0db99b616e640169766563" +
      "f2d69ecdbd5a0d5b8d5ef38bad4da58d1f278fde98ef67549d524a3018d9a57ff4d3a31ce673119e451626c2415771e3" +
      "b7eebca614c89b35",
    text: "45080028732c00004006e9f90a0106120a01038f06b88023dd6bafbecb71260250101f646d540001",
  },
  {
    source: `${DRAFT} 10`,
    algorithm: "aes-128-gcm",
    key: KEY_5,
    salt: "57690e43",
    high: 0x10101010,
    packet:
      "42f67e3f101010104e280000a2fca1a3" +
      "fba2cad12fc1f9f00d3cebf305410db83d7784b607323d220f24b0a97d54182800cadb0f68d99ef0e0c0c89ae9bea888" +
      "4e52d65bc1afd0740f742444747b5b39ab533163aad4550ee5160975cdb608c5769189609763b8e18caa81e2",
    text:
      "45000049333e00007f119182c3fb1d10c2b1d326c02831ce0035cb458003025b000001e0001e8c18d65759d52284a035" +
      "2c71475c8880391c764d6e5ee0496b325ae270c03899493915010101",
  },
  {
    source: `${DRAFT} 11`,
    algorithm: "aes-256-gcm",
    key: KEY_3,
    salt: "73616c74",
    high: 0x156f3126,
    packet:
      "17405e67dd0db99b616e640169766563" +
      "d4b7ed86a1777f2ea13d6973d324c69e7b43f826fb56831226508bebd2dceb18d0a6df10e5487df074113e14c641024e" +
      "3e6773d91a62ee429b043a10e3efe6b012a49363412364f8c0cac587f249e56b11e24f30e44ccc76",
    text:
      "636973636f0172756c657301746865016e6574776501646566696e6501746865746563686e6f6c6f6769657301746861" +
      "7477696c6c01646566696e65746f6d6f72726f7701020201",
  },
  {
    source: `${DRAFT} 12`,
    algorithm: "aes-128-gcm",
    key: "7d773d00c144c525ac619d18c84a3f47",
    salt: "d9664267",
    packet: "335467aeffffffff43457e9182443bc6437f866bcb3f699fe9b0822bac961c4504bef270",
    text: "01020201",
  },
  {
    source: `${DRAFT} 13`,
    algorithm: "aes-128-gcm",
    key: "abbccddef00112233445566778899aab",
    salt: "decaf888",
    high: 0,
    packet:
      "0000010000000001cafedebaceface74" +
      "29c9fc69a197d038ccdd14e2ddfcaa0543332164412503524303ed3c6c5f283843af8c3e",
    text: "746f016265016f72016e6f7401746f0162650001",
  },
  {
    source: `${DRAFT} 14`,
    algorithm: "aes-256-gcm",
    key: "6c6567616c697a656d6172696a75616e61616e64646f69746265666f72656961",
    salt: "7475726e",
    high: 0xffffffff,
    packet:
      "796b6963ffffffff333021696765746d" +
      "f97ab2aa356d8edce17644ac8c78e25dd24dedbb29ebf1b64a274b39b49c3a864cd3d78ca4ae68a32b42458fb57dbe82" +
      "1dcc63b9d0937ba2945f669368661a329fb4c053",
    text: "45000030da3a00008001df3bc0a80005c0a800010800c6cd020007006162636465666768696a6b6c6d6e6f707172737401020201",
  },
  {
    // The same head, nonce and additional data as RFC 4106, with another AEAD; its packet has the trailer of tunnel mode.
    source: "RFC 7634, appendix A",
    algorithm: "chacha20-poly1305",
    key: "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
    salt: "a0a1a2a3",
    packet:
      "01020304000000051011121314151617" +
      "24039428b97f417e3c13753a4f05087b67c352e6a7fab1b982d466ef407ae5c614ee8099d52844eb61aa95dfab4c02f7" +
      "2aa71e7c4c4f64c9befe2facc638e8f3cbec163fac469b502773f6fb94e664da9165b82829f641e0" +
      "76aaa8266b7fb0f7b11b369907e1ad43",
    text:
      "45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec1000073627" +
      "08090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f3031323334353637" +
      "01020204",
  },
  ...(
    [
      [
        "1",
        0,
        "00000100000000010100000000000000" +
          "e489dcce3b64c872928163cafbecc54984df54f0cef40eb8c8e17360bf9bf43e84c3955e08ce9e037d160ff2fc30593d",
      ],
      [
        "2^32",
        1,
        "00000100000000000000000001000000" +
          "24684eb5f24e3c01089c170ae7653ad7e2cb124ab57d50bcf58809599ac12f91be6b2788396387626b10abedf02607d8",
      ],
    ] as const
  ).map(([number, high, packet]) => ({
    source: `Vita (inventory, section 3.12), sequence number ${number}`,
    algorithm: "aes-128-gcm" as const,
    key: "000102030405060708090a0b0c0d0e0f",
    salt: "a0a1a2a3",
    high,
    packet,
    text: `${"45".repeat(28)}00000204`,
  })),
];
