"""All texts of the page, in English and Chinese."""

LANGUAGES = ("English", "中文")

TEXTS = {
    "about": (
        "Learns from pictures of good parts, then marks what is different in new pictures.",
        "从良品图片学习，然后标出新图片中的异常。",
    ),
    "section": ("Section", "栏目"),
    "section_start": ("Learn", "训练"),
    "section_results": ("Results", "结果"),
    "section_audit": ("Training", "训练图片"),
    "section_camera": ("Camera", "摄像头"),
    "section_downloads": ("Downloads", "下载"),
    "source": ("Pictures", "图片来源"),
    "source_demo": ("Demo", "演示"),
    "source_upload": ("Upload", "上传"),
    "source_folder": ("Folder", "文件夹"),
    "source_model": ("Trained model", "已训练模型"),
    "demo": ("Demo part", "演示零件"),
    "demo_weave": ("Woven cloth", "织物"),
    "demo_flange": ("Flange", "法兰"),
    "demo_loose_flange": ("Flange in any position", "任意位置的法兰"),
    "folder": ("Folder in the layout of MVTec AD", "MVTec AD 结构的文件夹"),
    "folder_none": (
        "There is no folder with train/good below the folders that this page may read.",
        "本页面可读取的文件夹中没有包含 train/good 的文件夹。",
    ),
    "counts": (
        "{train} good pictures to learn from, {test} pictures to test.",
        "{train} 张良品图片用于训练，{test} 张图片用于测试。",
    ),
    "upload_help": (
        "At least {least} good pictures, better 50; at most {train}. To test: any number up to "
        "{test}. A picture may have {picture} MB and {pixels} megapixels, a ZIP archive {zip} MB, "
        "all pictures together {total} MB. An archive with the folders train/good and test/… of "
        "MVTec AD fills both fields; in an archive of test pictures, folders good/, scratch/, … "
        "give labels, from which the page computes figures. Only you see your pictures; they are "
        "deleted when you close the page.",
        "至少 {least} 张良品图片（建议 50 张），最多 {train} 张；测试图片最多 {test} 张。"
        "每张图片不超过 {picture} MB 和 {pixels} 百万像素，ZIP 压缩包不超过 {zip} MB，"
        "全部图片不超过 {total} MB。"
        "含 MVTec AD 结构（train/good、test/…）的压缩包同时用于训练和测试；"
        "测试压缩包中的 good/、scratch/ 等文件夹作为标签，用于计算指标。"
        "只有您能看到自己的图片；关闭页面后图片即被删除。",
    ),
    "upload_train": ("Good pictures to learn from, or a ZIP", "用于训练的良品图片或 ZIP"),
    "upload_test": ("Pictures to test, or a ZIP", "要测试的图片或 ZIP"),
    "model_help": (
        "A model that train.py or this page saved. Its settings and thresholds come with it.",
        "由 train.py 或本页面保存的模型，设置和阈值均包含在内。",
    ),
    "upload_model": ("Model (.pdparams)", "模型（.pdparams）"),
    "open_model": ("Open and test", "打开并测试"),
    "method": ("Method", "方法"),
    "backbone": ("Network", "骨干网络"),
    "backbone_help": (
        "The default network needs no download. Weights of others may be downloaded once.",
        "默认网络无需下载；其他网络的权重可能需要下载一次。",
    ),
    "fpr": ("False-alarm rate", "误报率"),
    "fpr_help": (
        "The share of good pictures that may be called defective.",
        "允许被判为缺陷的良品比例。",
    ),
    "advanced": ("Advanced", "高级设置"),
    "advanced_help": (
        "The names and defaults are those of train.py's options.",
        "名称和默认值与 train.py 的选项相同（说明为英文）。",
    ),
    "default": ("default", "默认"),
    "resize_help": (
        "Shorter side in pixels after resizing, or HEIGHTxWIDTH.",
        "缩放后短边的像素数，或 高x宽。",
    ),
    "img_size_help": (
        "Side of the square cut from the middle, or HEIGHTxWIDTH. Defects outside are not found.",
        "从中间裁出的正方形边长，或 高x宽；裁剪区域以外的缺陷无法检出。",
    ),
    "weights_help": (
        "auto: installed or downloaded weights; embedded: small weights of resnet18.",
        "auto：已安装或下载的权重；embedded：内置的 resnet18 小权重。",
    ),
    "min_area_help": (
        "Smaller regions are left out, in pixels of the picture.",
        "忽略更小的区域（按图片像素计）。",
    ),
    "roi": ("Region of interest", "感兴趣区域"),
    "roi_help": (
        "Draw on the part of the picture that is used. Outside the shapes nothing is learned and "
        "nothing is found. Without a shape, all of it counts.",
        "在所用的图片区域上绘制。形状以外不学习也不检测；不绘制则使用整个区域。",
    ),
    "roi_share": ("The region has {share} % of the used part.", "该区域占所用部分的 {share} %。"),
    "roi_rectangle": ("Rectangle", "矩形"),
    "roi_ellipse": ("Ellipse", "椭圆"),
    "roi_freehand": ("Freehand", "手绘"),
    "roi_undo": ("Undo", "撤销"),
    "roi_clear": ("Clear", "清除"),
    "learn": ("Learn and test", "训练并测试"),
    "learning": ("Learning", "正在训练"),
    "judging": ("Testing", "正在测试"),
    "preparing": ("Preparing…", "正在准备…"),
    "waiting": ("Waiting for the work of another visitor…", "正在等待其他访客的任务…"),
    "finishing": ("computing the next step…", "正在计算下一步…"),
    "left": ("about {seconds} s left", "剩余约 {seconds} 秒"),
    "step_draw": ("Draw demo pictures", "绘制演示图片"),
    "step_fit": ("Learn from good pictures", "学习良品图片"),
    "step_leave": ("Score each picture as if left out", "逐张留出打分"),
    "step_judge": ("Test pictures", "测试图片"),
    "step_other": ("Compute", "计算"),
    "cancel": ("Cancel", "取消"),
    "cancelling": ("Cancelling after this step…", "本步骤结束后取消…"),
    "cancelled": ("Cancelled. Nothing was changed.", "已取消，没有任何更改。"),
    "unexpected": (
        "Something unexpected went wrong. The log of the server says what.",
        "发生意外错误，详情见服务器日志。",
    ),
    "verdict_good": ("good", "良品"),
    "verdict_defective": ("defective", "缺陷"),
    "verdict_unknown": ("unknown", "未知"),
    "promise": (
        "Score {threshold} or higher is defective. This threshold comes from {n} good pictures: "
        "at most {rate} of good pictures that are like them have such a score.",
        "得分达到 {threshold} 即判为缺陷。该阈值由 {n} 张良品图片得出："
        "与之相似的良品中最多有 {rate} 达到此得分。",
    ),
    "extrapolated": (
        "Score {threshold} or higher is defective. This threshold for {rate} is extrapolated: {n} "
        "good pictures can promise a rate of {least} at best.",
        "得分达到 {threshold} 即判为缺陷。{rate} 的阈值为外推值："
        "{n} 张良品图片最多只能保证 {least} 的误报率。",
    ),
    "no_normal": (
        "This model has no scores of good pictures, so it promises no false-alarm rate. Choose a "
        "threshold.",
        "该模型没有良品得分，无法保证误报率，请选择阈值。",
    ),
    "threshold": ("threshold", "阈值"),
    "judged": ("Pictures", "图片"),
    "called": ("Called defective", "判为缺陷"),
    "false_alarms": ("False alarms", "误报"),
    "found": ("Defects found", "检出缺陷"),
    "skipped": ("Left out: {message}", "已跳过：{message}"),
    "figures": ("Figures and curves", "指标与曲线"),
    "figures_help": (
        "They compare scores with labels and do not depend on the threshold.",
        "这些指标比较得分与标签，与阈值无关。",
    ),
    "figures_large": (
        "Figures of pixels are left out: the maps of all pictures together have more than {most} "
        "million pixels. val.py measures them.",
        "未给出像素指标：所有图片的异常图合计超过 {most} 百万像素。可用 val.py 计算。",
    ),
    "level_image": ("pictures", "图片"),
    "level_pixel": ("pixels", "像素"),
    "score": ("score", "得分"),
    "pictures": ("pictures", "图片数"),
    "group_normal": ("good, learned (as if left out)", "良品，训练（逐张留出）"),
    "group_good": ("good, tested", "良品，测试"),
    "group_defective": ("defective, tested", "缺陷，测试"),
    "group_unlabelled": ("tested, without a label", "测试，无标签"),
    "false_rate": ("false-alarm rate", "误报率"),
    "recall": ("recall", "召回率"),
    "precision": ("precision", "精确率"),
    "precision_recall": ("Precision and recall", "精确率与召回率"),
    "show": ("Show", "显示"),
    "show_all": ("all", "全部"),
    "show_defective": ("defective", "缺陷"),
    "show_good": ("good", "良品"),
    "show_wrong": ("wrong verdicts", "误判"),
    "heat": ("heat maps", "热力图"),
    "page": ("Page (of {pages})", "页（共 {pages} 页）"),
    "nothing": ("No picture.", "没有图片。"),
    "further": ("Test further pictures", "测试更多图片"),
    "judge": ("Test", "测试"),
    "back": ("All pictures", "全部图片"),
    "previous": ("Previous", "上一张"),
    "next": ("Next", "下一张"),
    "outline": ("Outline at full resolution", "全分辨率轮廓"),
    "save_outline": ("Save this picture", "保存此图片"),
    "heat_caption": ("Heat map of the part that is used", "所用区域的热力图"),
    "opacity": ("Opacity", "不透明度"),
    "colors": ("Pixel scores at the ends of the colours", "颜色范围（像素得分）"),
    "p_value": ("p-value", "p 值"),
    "normalised": ("normalised", "归一化得分"),
    "regions": ("Defective regions, in pixels of the picture", "缺陷区域（图片像素）"),
    "no_regions": ("No defective region.", "没有缺陷区域。"),
    "left_top": ("left, top", "左, 上"),
    "size": ("width × height", "宽 × 高"),
    "area": ("area", "面积"),
    "peak": ("highest pixel score", "最高像素得分"),
    "audit_help": (
        "The {n} training pictures, the most unusual first: score and p-value as if the picture "
        "had not been learned. A defective picture among them spoils the model: leave it out and "
        "learn again.",
        "{n} 张训练图片，最不寻常的排在前面：得分和 p 值按该图片未参与训练计算。"
        "其中若有缺陷图片会损害模型：请排除后重新训练。",
    ),
    "beyond": ("unlike the rest", "与其余不同"),
    "leave_out": ("Leave out", "排除"),
    "take_back": ("Take back", "恢复"),
    "mark_out": ("will be left out", "将被排除"),
    "learn_without": ("Learn again (left out: {n})", "重新训练（排除 {n} 张）"),
    "left_out": ("Left out of this model", "未参与此模型的图片"),
    "come_back": ("learn from it again", "重新用于训练"),
    "stay_out": ("stays out", "保持排除"),
    "camera_help": (
        "The browser asks before it uses the camera. The picture is judged by the present model.",
        "浏览器使用摄像头前会询问。拍摄的图片由当前模型判断。",
    ),
    "camera": ("Take a picture", "拍照"),
    "file_model": ("Model", "模型"),
    "file_model_help": (
        "For val.py, predict.py, export_model.py, and for this page.",
        "用于 val.py、predict.py、export_model.py 和本页面。",
    ),
    "file_export": ("Exported form", "导出模型"),
    "file_export_help": (
        "For infer.py and for the service: unpack the archive into a folder.",
        "用于 infer.py 和服务：请将压缩包解压到文件夹。",
    ),
    "file_report": ("Report", "报告"),
    "file_report_help": (
        "report.html, which needs no network, and the tables and curves that it shows.",
        "report.html（无需联网）及其中的表格和曲线。",
    ),
    "file_pictures": ("Pictures", "图片"),
    "file_pictures_help": (
        "A sheet and a mask of each tested picture, and scores.csv.",
        "每张测试图片的结果图和掩码，以及 scores.csv。",
    ),
    "report_needs": (
        "The report needs good and defective test pictures with labels.",
        "生成报告需要带标签的良品和缺陷测试图片。",
    ),
    "prepare": ("Prepare", "准备"),
    "download": ("Download {name} ({size})", "下载 {name}（{size}）"),
}


def text(key: str, language: str, **values) -> str:
    """The text `key` in one of LANGUAGES, with `values` in its places."""
    return TEXTS[key][LANGUAGES.index(language)].format(**values)
