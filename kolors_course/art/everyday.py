"""Words that people write in prompts and no caption says: a reader knows them, Kolors-mini does not."""

# Value of a fact -> other words for it.
RELATIVES: dict[str, tuple[str, ...]] = {
    "meadow": ("grassland", "lawn", "pasture", "field", "草坪", "草丛", "大草原"),
    "snow": ("snowy", "snowfield", "雪"),
    "desert": ("dune", "大沙漠"),
    "beach": ("shore", "seashore", "seaside", "coast", "海滩", "海岸", "海滨", "岸边"),
    "sea": ("海上", "海里", "海洋", "海水", "海"),
    "city": ("street", "town", "downtown", "大城市", "都市", "市区", "街上", "街头", "大街", "街"),
    "forest": ("wood", "woodland", "jungle", "丛林", "林子", "林中", "林间", "大森林"),
    "mountain": ("hill", "hillside", "mountainside", "peak", "山坡", "山丘", "山脚", "大山"),
    "space": ("cosmos", "universe", "galaxy", "银河"),
    "room": ("indoors", "bedroom", "家中", "屋里", "屋内", "屋子", "室内", "客厅", "卧室"),
    "day": (
        *("sunny", "daylight", "sunlight", "sunshine", "morning", "noon", "midday", "afternoon"),
        *("大白天", "白日", "白昼", "日间", "早上", "早晨", "上午", "中午", "正午", "下午", "阳光", "晴朗"),
    ),
    "night": (
        *("nighttime", "midnight", "moonlight", "moonlit"),
        *("晚上", "大晚上", "月亮", "月光", "月夜", "深夜", "半夜", "午夜", "夜间", "夜色", "夜空", "夜"),
    ),
    "dusk": (
        *("evening", "twilight", "nightfall", "sundown", "setting sun"),
        *("日落", "落日", "夕阳", "晚霞", "日暮", "薄暮"),
    ),
    "small": ("tiny", "mini", "miniature", "小小", "很小", "小的", "小型", "迷你", "娇小", "小只"),
    "big": (
        *("huge", "giant", "gigantic", "enormous", "massive"),
        *("大大", "很大", "好大", "超大", "特大", "巨大", "大的", "大型", "硕大", "庞大", "高大", "大只"),
    ),
    "left": ("左侧", "左面", "左方", "左"),
    "middle": ("centre", "center", "中央", "正中", "中心", "居中"),
    "right": ("右侧", "右面", "右方", "右"),
}
# Sizes right before a subject; before another word these signs mean something else (小心, 大概).
BARE_SIZES = {"大": "big", "小": "small"}
# Words of whole sentences that state no fact of a picture, beside those of `kolors_course.art.unknown`.
FILLERS = (
    "i we you can see sees seen show shows showing shown sit sits sitting stand stands standing rest rests resting "
    "stay stays perch perched perching lie lies lying side hand during time while when where foreground background "
    "before sky single very really so quite just only alone image photo drawing painting illustration scene view "
    "我们 我 可以 看到 看见 坐 站 待 停 立 趴 躺 位于 处于 正 时分 时候 时 天空 天 背景 远处 近处 身后 特别 非常 "
    "十分 好 真 只 头 个 片 座 处 侧 面 方 边 旁 前 后 上 下 里 中 内 外 间 色"
)
