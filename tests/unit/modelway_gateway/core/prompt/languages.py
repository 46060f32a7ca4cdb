"""Own prompts in thirty languages, three each."""

PROMPTS: dict[str, tuple[str, str, str]] = {
    "en": (
        "Could you tell me how to boil an egg?",
        "Summarize this letter in two sentences.",
        "What is the capital of France?",
    ),
    "de": (
        "Wie koche ich ein Ei, ohne dass es platzt?",
        "Fasse diesen Brief in zwei Sätzen zusammen.",
        "Schreibe ein kurzes Gedicht über den Herbst.",
    ),
    "fr": (
        "Comment faire cuire un œuf sans le casser ?",
        "Résume cette lettre en deux phrases.",
        "Écris un court poème sur l'automne.",
    ),
    "es": (
        "¿Cómo se cuece un huevo sin que se rompa?",
        "Resume esta carta en dos frases.",
        "Escribe un poema corto sobre el otoño.",
    ),
    "it": (
        "Come si cuoce un uovo senza romperlo?",
        "Riassumi questa lettera in due frasi.",
        "Scrivi una breve poesia sull'autunno.",
    ),
    "pt": (
        "Como cozinhar um ovo sem o partir?",
        "Resume esta carta em duas frases, por favor.",
        "Escreve um poema curto sobre o outono.",
    ),
    "nl": (
        "Hoe kook ik een ei zonder dat het barst?",
        "Vat deze brief samen in twee zinnen.",
        "Schrijf een kort gedicht over de herfst.",
    ),
    "sv": (
        "Hur kokar man ett ägg utan att det spricker?",
        "Sammanfatta det här brevet i två meningar.",
        "Skriv en kort dikt om hösten.",
    ),
    "da": (
        "Hvordan koger jeg et æg, uden at det revner?",
        "Sammenfat dette brev i to sætninger.",
        "Skriv et kort digt om efteråret, og gør det sjovt.",
    ),
    "fi": (
        "Miten keitän kananmunan ilman että se halkeaa?",
        "Tiivistä tämä kirje kahteen lauseeseen.",
        "Kirjoita lyhyt runo syksystä.",
    ),
    "pl": (
        "Jak ugotować jajko, żeby nie pękło?",
        "Streść ten list w dwóch zdaniach.",
        "Napisz krótki wiersz o jesieni.",
    ),
    "cs": ("Jak uvařit vejce, aby neprasklo?", "Shrň tento dopis do dvou vět.", "Napiš krátkou báseň o podzimu."),
    "sk": (
        "Ako uvariť vajce, aby neprasklo?",
        "Zhrň tento list do dvoch viet.",
        "Napíš krátku báseň o jeseni, ktorá sa rýmuje.",
    ),
    "hu": (
        "Hogyan főzzek tojást úgy, hogy ne repedjen meg?",
        "Foglald össze ezt a levelet két mondatban.",
        "Írj egy rövid verset az őszről.",
    ),
    "ro": (
        "Cum se fierbe un ou fără să se spargă?",
        "Rezumă această scrisoare în două propoziții.",
        "Scrie o poezie scurtă despre toamnă.",
    ),
    "bg": (
        "Как да сваря яйце, без да се спука?",
        "Обобщи това писмо в две изречения.",
        "Напиши кратко стихотворение за есента.",
    ),
    "ru": (
        "Как сварить яйцо, чтобы оно не треснуло?",
        "Кратко перескажи это письмо в двух предложениях.",
        "Напиши короткое стихотворение об осени.",
    ),
    "uk": (
        "Як зварити яйце, щоб воно не тріснуло?",
        "Підсумуй цей лист двома реченнями.",
        "Напиши короткий вірш про осінь.",
    ),
    "el": (
        "Πώς βράζω ένα αυγό χωρίς να σπάσει;",
        "Κάνε περίληψη αυτού του γράμματος σε δύο προτάσεις.",
        "Γράψε ένα σύντομο ποίημα για το φθινόπωρο.",
    ),
    "tr": (
        "Yumurtayı çatlamadan nasıl haşlarım?",
        "Bu mektubu iki cümleyle özetle.",
        "Sonbahar hakkında kısa bir şiir yaz.",
    ),
    "ar": ("كيف أسلق بيضة دون أن تنكسر؟", "لخص هذه الرسالة في جملتين.", "اكتب قصيدة قصيرة عن الخريف."),
    "he": ("איך מבשלים ביצה בלי שהיא תיסדק?", "סכם את המכתב הזה בשני משפטים.", "כתוב שיר קצר על הסתיו."),
    "fa": (
        "چگونه تخم مرغ را بدون ترک خوردن بپزم؟",
        "این نامه را در دو جمله خلاصه کن.",
        "یک شعر کوتاه درباره پاییز بنویس.",
    ),
    "hi": ("अंडे को बिना टूटे कैसे उबालें?", "इस पत्र का दो वाक्यों में सारांश दो।", "पतझड़ पर एक छोटी कविता लिखो।"),
    "bn": ("ডিম না ফাটিয়ে কীভাবে সিদ্ধ করব?", "এই চিঠিটি দুটি বাক্যে সংক্ষেপ করো।", "শরৎ নিয়ে একটি ছোট কবিতা লেখো।"),
    "th": ("ต้มไข่อย่างไรไม่ให้แตก", "สรุปจดหมายนี้เป็นสองประโยค", "เขียนบทกวีสั้น ๆ เกี่ยวกับฤดูใบไม้ร่วง"),
    "vi": (
        "Làm thế nào để luộc trứng mà không bị nứt?",
        "Tóm tắt bức thư này trong hai câu.",
        "Viết một bài thơ ngắn về mùa thu.",
    ),
    "zh": ("怎样煮鸡蛋才不会破？", "请用两句话概括这封信。", "写一首关于秋天的短诗。"),
    "ja": (
        "卵を割らずにゆでるにはどうすればいいですか？",
        "この手紙を二文で要約してください。",
        "秋についての短い詩を書いてください。",
    ),
    "ko": (
        "달걀을 깨지 않고 삶으려면 어떻게 해야 하나요?",
        "이 편지를 두 문장으로 요약해 줘.",
        "가을에 대한 짧은 시를 써 줘.",
    ),
}
